// Package probe tries from inside `watertight exec` what a program could try there to have a name looked up elsewhere, or to send a
// packet past what carries it: this program again is the program that is contained.
//
// It promises that each way is tried for real, and that what it says is what the kernel or the other side said. It sends nothing that
// would reach anybody if it were let out, but questions for names of the test: its addresses are those of documentation (RFC 5737,
// RFC 3849), but for the known resolvers, which are tried only where the policy refuses them.
//
// As another program of the host, outside, it tries what the host's guard must refuse ([Stray]): to the canary alone.
package probe

import (
	"net/netip"
	"time"
)

// Result is what came of a try.
type Result string

// The results.
const (
	Answered Result = "answered" // somebody replied, or it was possible
	Refused  Result = "refused"  // at once, with what Errno says
	Silent   Result = "silent"   // nothing came within three seconds
	Absent   Result = "absent"   // it is not there
	// Elsewhere is that somebody else than what carries the program replied, or would be asked.
	Elsewhere Result = "elsewhere"
	Unclear   Result = "unclear" // an error that says none of these
)

// Outcome is one try. The field names are stable.
type Outcome struct {
	ID     string  `json:"id"`   // of its kind, such as EXEC-DNS
	What   string  `json:"what"` // was tried
	To     string  `json:"to,omitempty"`
	Result Result  `json:"result"`
	Errno  string  `json:"errno,omitempty"` // such as EPERM
	Said   string  `json:"said,omitempty"`  // what came back
	Held   bool    `json:"held"`            // it is as it must be
	TookMS float64 `json:"took_ms"`
}

// The kinds of tries.
const (
	Files     = "EXEC-FILES"     // where the library of C reads how names are looked up
	Name      = "EXEC-NAME"      // a name by these resolvers, which must be answered by what carries the program
	Direct    = "EXEC-DNS"       // questions to any other resolver, which must be answered by it too
	Encrypted = "EXEC-DOT"       // port 853
	Known     = "EXEC-DOH"       // port 443 of resolvers that everybody knows
	Literal   = "EXEC-LITERAL"   // an address that was given out to nobody
	Neighbour = "EXEC-MULTICAST" // mDNS, LLMNR and NetBIOS
	Socket    = "EXEC-SOCKET"    // name services behind sockets of the file system
	Device    = "EXEC-DEVICE"    // another interface than loopback
	Raw       = "EXEC-PACKET"    // packets past the firewall
)

// IDs are all kinds, in their order.
func IDs() []string {
	return []string{Files, Name, Direct, Encrypted, Known, Literal, Neighbour, Socket, Device, Raw}
}

// Spec says what to try.
type Spec struct {
	// Name is asked for: one below the canary's zone. Empty: one below example.com that nobody else has asked for. Inside, neither is
	// asked of anybody, as nobody connects to the address that stands for it.
	Name string `json:"name,omitempty"`
	// ForeignRefused says that the policy refuses resolvers of others. Otherwise the known ones are not tried.
	ForeignRefused bool `json:"foreign_refused,omitempty"`
	// LiteralRefused says that the policy refuses addresses that were given out to nobody.
	LiteralRefused bool `json:"literal_refused,omitempty"`
	// Devices are the interfaces of the host.
	Devices []string `json:"devices,omitempty"`
	// Sockets are paths of sockets on the host, besides those that are known to be asked for names.
	Sockets []string `json:"sockets,omitempty"`
}

// Limits.
const (
	maxSpec  = 64 << 10
	maxList  = 64 // of Devices, and of Sockets
	tryLimit = 3 * time.Second
)

// Argument is the one argument of this program by which it knows that it is the one inside.
const Argument = "probe-inside"

// Where nobody is, whatever happens.
var (
	nobody4  = netip.MustParseAddr("192.0.2.53")
	nobody6  = netip.MustParseAddr("2001:db8::53")
	literal4 = netip.MustParseAddr("198.51.100.80")
	literal6 = netip.MustParseAddr("2001:db8:80::80")
)

// known are resolvers that speak DNS over HTTPS.
var known = []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2620:fe::fe")}

// services are where programs find somebody on this host who looks names up for them, or does other things for them.
var services = []string{
	"/run/nscd/socket", "/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/resolve/io.systemd.Resolve.Monitor",
	"/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", "/run/avahi-daemon/socket", "/var/run/avahi-daemon/socket",
	"/var/lib/sss/pipes/nss", "/run/mdnsd", "/var/run/mdnsd", "/run/systemd/private", "/run/systemd/userdb/io.systemd.Machine",
	"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock",
}
