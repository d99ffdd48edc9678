package internet

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"watertight/capture"
	"watertight/contain"
	"watertight/dnswire"
)

// ISP is the provider: the router between all hosts, and a resolver of plaintext DNS at every address that the
// client can think of. It writes down what it is asked.
type ISP struct {
	*Host // without an address of its own; see Nameservers of each host

	mu  sync.Mutex
	log []Asked
}

// Asked is one plaintext question that a server received.
type Asked struct {
	Time   time.Time
	Client netip.AddrPort
	Server netip.AddrPort // the address that was asked, which need not be the server's own
	Proto  capture.Proto
	Name   string // lower case, no trailing dot; empty if the message could not be read
	Type   string
}

// String gives the question in one line.
func (a Asked) String() string {
	return fmt.Sprintf("%s asked %s %s for %s %s", a.Client, a.Proto, a.Server, a.Name, a.Type)
}

func newISP(in *Internet) (*ISP, error) {
	space, err := contain.NewNet()
	if err != nil {
		return nil, err
	}
	isp := &ISP{Host: &Host{Name: "isp", in: in, space: space}}
	if err := forwarding(space); err != nil {
		return isp, err
	}
	return isp, nil
}

func (isp *ISP) serve() error {
	return servePlain(isp.Host, func(q asked) []byte {
		isp.mu.Lock()
		isp.log = append(isp.log, record(q))
		isp.mu.Unlock()
		// Nearly every zone has the same authority, so the way down from the root is short.
		reply, err := isp.Ask(isp.in.Authority.serverOf(q.Message), q.Message)
		if err != nil {
			return refusal(q.Message, dnswire.ServFail)
		}
		return reply
	})
}

// Log gives every plaintext question so far, of whichever host, oldest first.
func (isp *ISP) Log() []Asked {
	isp.mu.Lock()
	defer isp.mu.Unlock()
	return append([]Asked(nil), isp.log...)
}

// LogOf gives every plaintext question of one host so far.
func (isp *ISP) LogOf(h *Host) []Asked {
	var out []Asked
	for _, a := range isp.Log() {
		if h.Has(a.Client.Addr()) {
			out = append(out, a)
		}
	}
	return out
}

func record(q asked) Asked {
	a := Asked{Time: time.Now(), Client: q.Client, Server: q.Server, Proto: q.Proto}
	if r, err := dnswire.ParseRequest(q.Message); err == nil {
		a.Name, a.Type = r.Name, r.Type.String()
	}
	return a
}

// refusal answers a message with a response code and nothing else, or not at all if it cannot be read.
func refusal(message []byte, rcode int) []byte {
	r, err := dnswire.ParseRequest(message)
	if err != nil {
		return nil
	}
	b, err := r.Pack(dnswire.Reply{RCode: rcode})
	if err != nil {
		return nil
	}
	return b
}
