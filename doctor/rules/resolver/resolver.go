// Package resolver has the rules on how a host looks names up for programs that use no proxy, and on what else answers
// them: resolv.conf, nsswitch.conf, systemd-resolved, NetworkManager, name-service daemons behind sockets.
//
// A proxy does not change these, and most of what they say is harmless to a client that gives its proxy every name. They
// tell where the names of all other programs go. Where our program answers DNS itself, whatever leads past it is a leak;
// where it does not, there is one finding that says where names go, and no more than that.
package resolver

import "watertight/doctor"

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		resolvPublic,
		resolvDrift,
		resolvSearch,
		nssResolve,
		resolvedFallback,
		networkManager,
		nscdSocket,
		avahiSocket,
		resolvedSocket,
		dns53Other,
		ipv6Gap,
	}
}

// everyProgram is who is affected by the files of the C library.
var everyProgram = []string{"every program that resolves by the C library and does not use the proxy", "Go, Node, Java, c-ares, dig: they read resolv.conf too"}

// dropIn is the mend by systemd-resolved: our DNS for every name, and nothing beside it.
func dropIn(h *doctor.Host) string {
	at, have := h.StubFor()
	fix := "sudo mkdir -p /etc/systemd/resolved.conf.d\n" +
		`printf '[Resolve]\nDNS=` + at + `\nDomains=~.\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\nDNSOverTLS=no\n' | sudo tee /etc/systemd/resolved.conf.d/90-watertight.conf` +
		"\nsudo systemctl restart systemd-resolved"
	if !have {
		fix = "# first, in the configuration of Watertight: listen: {dns: " + at + "}\n" + fix
	}
	return fix
}
