package leaktest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"

	"watertight/connect"
	"watertight/dnswire"
)

// Subject is the program under test, as it offers itself. Its methods are called from many goroutines.
type Subject interface {
	// About tells what it is.
	About() About
	// Doors gives the doors by which clients come in now.
	Doors() []Door
	// Channels gives the channels, each after the one that it stands on.
	Channels() []Channel
	// Leads gives the channel that a request for a name takes, and an error where the routes refuse it.
	Leads(host string) (channel string, err error)
	// Copy opens a private copy of a channel, with all that it stands on: what happens to it is noticed by no user.
	Copy(ctx context.Context, channel string) (Copy, error)
	// CopyForResolver opens one of which Cut takes the way to the channel's own resolver alone, and Tried tells of that: its hops live
	// on. The error is [ErrTunnel] for a channel that cannot be up twice.
	CopyForResolver(ctx context.Context, channel string) (Copy, error)
	// CopyUnready opens one that is cut off from the beginning, and gives it before it is ready, which it never becomes.
	CopyUnready(ctx context.Context, channel string, silent bool) (Copy, error)
	// Counters are the program's own, at this moment.
	Counters() Counters
}

// About is what a program is.
type About struct {
	Version string
	File    string
	Running bool // it serves users; else it was started for the test
	Policy  Policy
	Names   []OwnName
}

// Policy is what of the policy the test has to know: refuse, report or allow.
type Policy struct {
	PlainHTTP        string `json:"plain_http"`
	ForeignResolvers string `json:"foreign_resolvers"`
	ClientResolved   string `json:"client_resolved"`
	Contained        string `json:"contained_client_resolved"` // the same of contained programs
}

// DoorKind is what is spoken at a door.
type DoorKind string

// The kinds of doors that are tried.
const (
	DoorProxy   DoorKind = "proxy" // HTTP CONNECT, plain HTTP, SOCKS 4a and 5
	DoorDNS     DoorKind = "dns"
	DoorGateway DoorKind = "gateway"
	// DoorTransparent is where the firewall hands over what was meant for others. It is tried by a [Handing].
	DoorTransparent DoorKind = "transparent"
)

// Door is where clients come in.
type Door struct {
	Kind    DoorKind
	At      string // as it is written in a configuration
	Address netip.AddrPort
	// Unfit says why the test cannot come in here; empty: it can.
	Unfit string
	// TLS says that it speaks TLS, HTTPS that a DNS door is asked over HTTPS, and HTTP2 that HTTP/2 is spoken inside TLS.
	TLS, HTTPS, HTTP2 bool
	// Proof is what the test says where a proxy or a gateway asks who comes; zero: it does not.
	Proof Proof
	// As gives the door as the test comes in by it with the routes of a user, who is not told of it. Nil: there is no room to say so.
	As func(user string) (Door, error)
	// Packets says that a transparent listener takes datagrams.
	Packets bool
	// Entries are those of a gateway, for people.
	Entries []string
	// Generic says to which channel the generic form of a gateway (/https/HOST:PORT/) leads. The error is why it does not lead
	// there. Nil: there is no such form.
	Generic func(host string, port uint16) (channel string, err error)
	// Dial connects to it, as a client of this host does: with TLS where it speaks that, and there with one of some protocols (RFC 7301)
	// where there are any. Nil: it hears datagrams alone.
	Dial func(ctx context.Context, protocols ...string) (net.Conn, error)
	// QUIC connects to it over QUIC with a protocol. Nil: it does not speak that.
	QUIC func(ctx context.Context, protocol string) (*quic.Conn, error)
	// Datagrams is how a client of this host sends datagrams to a DNS door. Nil: it takes none.
	Datagrams func() (net.Conn, error)
	// Relay opens a socket for the datagrams that a relay of SOCKS5 is to take, which is asked for over a connection. Nil: it takes none.
	Relay func(asking net.Conn) (Relayed, error)
}

// Relayed is a socket for datagrams to a relay, from before it is known where that is.
type Relayed interface {
	net.Conn
	// From is the port that it sends from.
	From() uint16
	// Lead says where the relay is, before anything is sent. The error is for one that is not on this host.
	Lead(to netip.AddrPort) error
}

// Proof is what is said to a door of who comes. It prints without its secrets.
type Proof struct{ User, Password string }

// Format hides it, whatever the verb.
func (Proof) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(hidden)") }

// MarshalText hides it from encoders.
func (Proof) MarshalText() ([]byte, error) { return []byte("(hidden)"), nil }

// basic gives the credentials of the scheme Basic (RFC 7617); empty for nothing.
func (p Proof) basic() string {
	if p == (Proof{}) {
		return ""
	}
	return connect.Credentials(p.User, p.Password)
}

// field gives a whole line of a head with basic; empty for nothing.
func (p Proof) field(name string) string {
	if p == (Proof{}) {
		return ""
	}
	return name + ": " + p.basic() + "\r\n"
}

// Way is how names are resolved and connections are made inside of a channel.
type Way interface {
	// Exchange asks the channel's resolver. local says that nobody was asked. The error is a *fault.Error.
	Exchange(ctx context.Context, q dnswire.Question) (a *dnswire.Answer, local bool, err error)
	// Connect resolves a name in the channel and connects to it. The error is a *fault.Error.
	Connect(ctx context.Context, host string, port uint16) (net.Conn, error)
}

// Channel is a way out with its resolver.
type Channel struct {
	Way
	Name string
	Over string
	Hops []string // from this host on, without credentials
	Exit bool     // the last hop resolves
	// Pool says that its hop is one of many.
	Pool bool
	// Behind are resolvers that a relay alone may speak to.
	Behind []netip.AddrPort
	// Tunnel says that it is a tunnel, or stands on one: a copy of it never comes up.
	Tunnel bool
	// Resolvers are the upstreams as configured, and Addresses what they are reached at.
	Resolvers []string
	Addresses []netip.Addr
	// Peers are where the first hop, or the resolvers of a channel without one, may be dialled from this host, as far as the
	// configuration has their addresses.
	Peers []netip.AddrPort
	// Forward are the special-use suffixes that are asked of the resolvers all the same.
	Forward []string
	// Ready says why nothing can be resolved yet; nil: it can.
	Ready func() error
}

// Copy is a private copy of a channel.
type Copy interface {
	Way
	// Ready says why the copy never worked; nil: it did, until it was cut.
	Ready() error
	// Cut ends every connection of the copy, and of what it stands on, and lets none be made: it is refused, or nobody answers.
	Cut(silent bool)
	// Restore lets connections be made again.
	Restore()
	// Changed does what the program does with its channels when the network has changed.
	Changed()
	// Retire closes its channels, as a reload does with those that it replaces. Nothing keeps them from connecting.
	Retire()
	// Tried gives where the copy wanted to connect since it was cut, its network changed or it was retired, each once, and whether the
	// configuration names it.
	Tried() []Attempt
	// Close ends the copy.
	Close()
}

// ErrTunnel is why there is no copy whose hops live.
var ErrTunnel = errors.New("its tunnel cannot be up twice")

// Attempt is an address that was to be dialled.
type Attempt struct {
	To      netip.AddrPort
	Named   bool // the configuration does
	Packets bool // it was for datagrams
}

// Counters are what the program counts. Each is of a fault that has no place in it: they stay as they are.
type Counters struct {
	TrappedLookups uint64 // what asked the host's resolver in this process
	RefusedDials   uint64 // what was to be dialled where names travel in clear text
}

// Canary is where to find one.
type Canary struct {
	Zone    string // without a dot at its end
	API     string // a URL, with a path or without
	Channel string // that its API is asked through
	Roots   *x509.CertPool
}

// Look is what an [Observer] is to look for. Its functions are called all the time.
type Look struct {
	// Labels gives those that were made so far: each is there before it is used.
	Labels func() []string
	// Doors are where clients come in: between them and clients on this host a label is in its place.
	Doors []netip.AddrPort
	// Resolvers are where the channels reach encrypted resolvers.
	Resolvers []netip.AddrPort
	// Names are where the name of a target is said in clear, as the configuration has it: a proxy that resolves.
	Names []netip.AddrPort
	// Own are names of the program's own. A question of DNS for one of them that leaves this host in clear is a sighting, with the name
	// as its label.
	Own []string
	// PCAP gets the packets that were seen. Nil: nobody does.
	PCAP io.Writer
}

// Observer reads the packets of this host.
type Observer interface {
	// Start reads packets until Stop.
	Start(ctx context.Context, l Look) (Watching, error)
}

// Watching is an [Observer] at work.
type Watching interface {
	// Stop ends it, and gives what was seen.
	Stop() (Observed, error)
}

// Observed is what was seen of the packets of this host and of the sockets of this process.
type Observed struct {
	Interfaces []string
	Sightings  []Sighting
	// Sockets are those of this process that lead to a port where names are asked for in clear: a sentence each.
	Sockets []string
	// Blind says what could not be seen, and why; empty: nothing.
	Blind string
	// More says that there was more than was kept; empty: there was not.
	More string
}

// Sighting is a packet that has a label in it, or that goes where names are asked for.
type Sighting struct {
	Interface string
	From, To  netip.AddrPort
	Proto     string
	What      string // label, dns, dot, mdns, llmnr, netbios
	Form      string // of a label: wire, sni, host, text, base32, base64, hex
	Label     string
	Process   string // if known
	Ours      bool   // of this process
}
