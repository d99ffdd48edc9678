// Package event is a fact to report: what was asked of the program, what it decided and how it went.
//
// It promises that an event holds no secret, and that a name in it is hidden from logs unless revealed. It never
// blocks the one who reports, and never reaches the network.
package event

import (
	"net/netip"
	"time"

	"watertight/client"
	"watertight/fault"
	"watertight/name"
)

// Door is the way by which a request came in.
type Door string

// The doors.
const (
	DoorCONNECT Door = "http-connect"
	DoorHTTP    Door = "http"
	DoorSOCKS4  Door = "socks4"
	DoorSOCKS5  Door = "socks5"
	DoorResolve Door = "resolve"
	DoorDNS     Door = "dns"

	DoorSOCKS5UDP      Door = "socks5-udp"  // a flow of datagrams is one request
	DoorConnectUDP     Door = "connect-udp" // and so is one here (RFC 9298)
	DoorTransparent    Door = "transparent"
	DoorTransparentUDP Door = "transparent-udp"
	DoorGateway        Door = "gateway"
	DoorExec           Door = "exec" // of contained programs
	DoorExecUDP        Door = "exec-udp"
)

// Request is the canonical record of one request to a door: one is reported for each, when it is decided.
type Request struct {
	Door   Door
	Client netip.AddrPort
	// Identity is who the client is, as the door knows it.
	Identity client.Identity
	Target   name.Target
	Channel  string        // empty if none was chosen
	Code     fault.Code    // empty if the far side was connected
	Took     time.Duration // from the request's last octet to the decision
	// ClientResolved says that the target was an address that no resolver of ours gave out.
	ClientResolved bool
}

// Tunnel is the record of the end of a relay, with the octets carried each way.
type Tunnel struct {
	Door Door
	Up   int64 // from the client
	Down int64 // to the client
	Took time.Duration
}

// Lookup is the record of one question to a channel's resolver.
type Lookup struct {
	Channel  string
	Upstream string        // as configured, without secrets; empty if the answer came from the cache
	Type     string        // the question's type in text
	RCode    string        // in text, empty on an error
	Code     fault.Code    // empty if there was an answer
	Took     time.Duration // zero for the cache
	Cached   bool          // no upstream was asked for this question, or it waited for another's look-up
	Hit      bool          // the cache had the answer
	Age      time.Duration // since that answer came
	Stale    bool          // that answer had expired, and stood in
}

// Sink takes events. Its methods are called on the hot path: they must not block and must not keep the argument's
// address. A nil Sink is an error where one is asked for; [Discard] stands for none.
type Sink interface {
	Request(*Request)
	Tunnel(*Tunnel)
	Lookup(*Lookup)
}

// Discard drops every event.
type Discard struct{}

// Request drops the event.
func (Discard) Request(*Request) {}

// Tunnel drops the event.
func (Discard) Tunnel(*Tunnel) {}

// Lookup drops the event.
func (Discard) Lookup(*Lookup) {}

var _ Sink = Discard{}
