package leaktest

import (
	"context"
	"net/netip"
	"time"
)

// Guarded is a [Subject] whose host may have a firewall guard.
type Guarded interface {
	// Guard reads back what guards the host. The error says why that cannot be known, such as that it takes rights: whether the
	// configuration asks for a guard is told all the same.
	Guard(ctx context.Context) (Guard, error)
	// Stray has another program, which bears no mark, try to send something, each in its turn, and gives what came of each.
	Stray(ctx context.Context, all []Stray) ([]Strayed, error)
}

// Guard is what guards the host.
type Guard struct {
	Written bool   // the configuration asks for one
	Armed   bool   // it was turned on
	Held    bool   // what it put into the kernel is there, and as it was
	Why     string // it does not hold
	Since   time.Time
	Mark    uint32         // of what may pass
	Allow   []netip.Prefix // what every program may reach
	Uplinks []string       // the devices by which everything leaves
	Refused Refused
	// HandedOver says that the firewall hands over to this program what others send: then that does not come to the guard.
	HandedOver bool
}

// Refused are the packets that a guard has refused, by what they were. The field names are stable.
type Refused struct {
	DNS        uint64 `json:"dns"`
	DoT        uint64 `json:"dot"`
	LocalNames uint64 `json:"local_names"`
	Forwarded  uint64 `json:"forwarded"`
	Raw        uint64 `json:"raw"`
	Other      uint64 `json:"other"`
}

// since gives what came after another moment. A counter that went back was made anew, and begins at 0.
func (c Refused) since(before Refused) Refused {
	less := func(now, then uint64) uint64 {
		if now < then {
			return now
		}
		return now - then
	}
	return Refused{
		less(c.DNS, before.DNS), less(c.DoT, before.DoT), less(c.LocalNames, before.LocalNames), less(c.Forwarded, before.Forwarded),
		less(c.Raw, before.Raw), less(c.Other, before.Other),
	}
}

// StrayKind is how something is sent.
type StrayKind string

// The kinds of what strays.
const (
	StrayDatagram StrayKind = "datagram" // of UDP; to port 53 a question
	StrayConnect  StrayKind = "connect"  // TCP
	// StrayFlow is a connection over TCP that is made with the mark, as the program's own are, and loses it: to the firewall it is
	// one that was there before.
	StrayFlow StrayKind = "flow"
	// StrayFrame is an IP packet that is handed to a device (AF_PACKET), addressed on the link to the device itself.
	StrayFrame StrayKind = "frame"
)

// Stray is something that a program tries to send past the guard. The field names are those that the program is told.
type Stray struct {
	Kind   StrayKind      `json:"kind"`
	To     netip.AddrPort `json:"to"`               // of the canary
	Host   string         `json:"host"`             // a fresh name of the canary, which is all that is sent
	Mark   uint32         `json:"mark,omitempty"`   // of the flow, at first
	Device string         `json:"device,omitempty"` // of the frame
}

// StrayResult is what came of it.
type StrayResult string

// The results.
const (
	StrayRefused  StrayResult = "refused"  // the kernel said so at once, or the connection was reset
	StraySent     StrayResult = "sent"     // nothing said no
	StrayAnswered StrayResult = "answered" // the other side replied
	// StrayElsewhere is that a question was answered, and not by the canary: some rule or somebody on the way leads questions elsewhere.
	StrayElsewhere StrayResult = "elsewhere"
	StraySilent    StrayResult = "silent" // nobody took the connection, and nobody refused it
	StrayNoWay     StrayResult = "no way" // this host has no route there
	StrayUnable    StrayResult = "unable" // a program without more rights cannot do it
)

// Strayed is what came of one. The field names are those that the program tells.
type Strayed struct {
	Result StrayResult `json:"result"`
	Said   string      `json:"said,omitempty"` // by the kernel
}
