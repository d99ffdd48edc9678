package interop

import (
	"fmt"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// secured says that a kind of hop is spoken with over TLS: start is given a certificate.
func secured(name, scheme string, login servers.Login, start func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process) hopKind {
	return hopKind{name: name, scheme: scheme, port: servers.PortSecure, login: login, secure: start}
}

func squidTLS() hopKind {
	return secured("squid-tls", "https", ada, func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process {
		return servers.SquidTLS(t, h, ada, j.certificate(c))
	})
}

func stunnelled() hopKind {
	return secured("stunnel-microsocks", "socks5+tls", ada, func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process {
		if c.process == nil {
			servers.Microsocks(t, h, ada)
		}
		return servers.Stunnel(t, h, j.certificate(c), servers.PortSOCKS)
	})
}

func stunnelledDante() hopKind {
	return secured("stunnel-dante", "socks5+tls", servers.Login{}, func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process {
		if c.process == nil {
			servers.Dante(t, h)
		}
		return servers.Stunnel(t, h, j.certificate(c), servers.PortSOCKS)
	})
}

func nghttpx() hopKind {
	return secured("nghttpx", "h2", ada, func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process {
		if c.process == nil {
			servers.Squid(t, h, ada)
		}
		return servers.Nghttpx(t, h, j.certificate(c), servers.PortProxy)
	})
}

// socks4a takes names. Dante speaks version 4 without the extension: it can be asked for addresses.
func socks4a() hopKind {
	return hopKind{name: "socks4a", scheme: "socks4a", port: servers.PortSOCKS, start: servers.SOCKS4a}
}

func dante4() hopKind {
	return hopKind{name: "dante4", scheme: "socks4a", port: servers.PortSOCKS, start: servers.Dante}
}

func secureKinds() []hopKind {
	return []hopKind{squidTLS(), stunnelled(), stunnelledDante(), nghttpx()}
}

func TestHops_OverTLSCarryACallAndNobodyBeforeThemReadsWhatTheyAreAsked(t *testing.T) {
	t.Parallel()
	for _, families := range internet.AllFamilies() {
		for _, kind := range secureKinds() {
			for _, resolve := range []string{here, exit} {
				t.Run(fmt.Sprintf("%s/%s/%s", families, kind.name, resolve), func(t *testing.T) {
					(&journey{kinds: []hopKind{kind}, byName: true, resolve: resolve}).run(t, families, lab.Curl, "http")
				})
			}
		}
	}
}

func TestHops_OfSOCKS4aCarryACallToWhatHasAnIPv4Address(t *testing.T) {
	for _, families := range []internet.Families{internet.V4, internet.Dual} {
		for _, peer := range []struct {
			kind    hopKind
			resolve string
		}{{dante4(), here}, {socks4a(), here}, {socks4a(), exit}} {
			t.Run(fmt.Sprintf("%s/%s/%s", families, peer.kind.name, peer.resolve), func(t *testing.T) {
				(&journey{kinds: []hopKind{peer.kind}, byName: true, resolve: peer.resolve}).run(t, families, lab.Curl, "http")
			})
		}
	}
}

func TestHops_OverTLSHaveTheirPlaceInChains(t *testing.T) {
	t.Parallel()
	for _, chain := range [][]hopKind{
		{squidTLS(), nghttpx()},
		{nghttpx(), dante()},
		{microsocks(), stunnelled()},
		{socks4a(), squidTLS()},
	} {
		for _, resolve := range []string{here, exit} {
			t.Run(fmt.Sprintf("%s then %s/%s", chain[0].name, chain[1].name, resolve), func(t *testing.T) {
				(&journey{kinds: chain, byName: true, resolve: resolve}).run(t, internet.Dual, lab.Curl, "socks5h")
			})
		}
	}
}

func TestHops_OverTLSThatAreStoppedMeanARefusalAndAreUsedAgainWhenTheyAreBack(t *testing.T) {
	for _, kind := range secureKinds() {
		t.Run(kind.name, func(t *testing.T) {
			j := &journey{kinds: []hopKind{kind}, byName: true, resolve: exit}
			lab.Cell{
				Families: internet.Dual, Client: lab.Curl, Arrange: j.arrange, Start: j.startProxy, Refused: "HOP_REFUSED",
				Before: func(t testing.TB, s *lab.Scene) {
					mustReach(t, s, "before")
					j.last().process.Kill()
				},
				After: func(t testing.TB, s *lab.Scene) {
					j.last().process = kind.run(t, j, j.last())
					mustReachAgain(t, s, "after")
					untrapped(t, s)
				},
			}.Run(t)
		})
	}
}

func TestHops_OverTLSThatRefuseThePasswordAreNamedAndNothingElseIsTried(t *testing.T) {
	for _, kind := range []hopKind{squidTLS(), stunnelled(), nghttpx()} {
		t.Run(kind.name, func(t *testing.T) {
			j := &journey{kinds: []hopKind{kind}, byName: true, resolve: exit}
			lab.Cell{
				Families: internet.Dual, Client: lab.Curl, Start: j.startProxy, Refused: "HOP_AUTH",
				Arrange: func(t testing.TB, s *lab.Scene) {
					j.arrange(t, s)
					j.hops[0].login.Password = "wrong"
				},
				After: untrapped,
			}.Run(t)
		})
	}
}

func TestHops_OverTLSThatAreNotWhoTheyShouldBeAreToldNothing(t *testing.T) {
	for _, kind := range secureKinds() {
		t.Run(kind.name, func(t *testing.T) {
			j := &journey{kinds: []hopKind{kind}, byName: true, resolve: exit, impostor: true}
			lab.Cell{
				Families: internet.Dual, Client: lab.Curl, Arrange: j.arrange, Start: j.startProxy, Refused: "cannot be trusted",
				After: untrapped,
			}.Run(t)
		})
	}
}
