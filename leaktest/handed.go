package leaktest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/visit"
)

// Handing is a [Subject] to which the firewall of this host hands over what its programs send that know of no proxy.
type Handing interface {
	// Send opens a socket as such a program does, without any mark of this program: of network tcp or udp, and to any port. The test
	// gives it addresses of the canary alone.
	Send(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	// Took tells what the program has got of a socket that Send has opened.
	Took(sent net.Conn) Taken
	// Here says that the other end of a connection over TCP is a socket of this host, whoever's it is.
	Here(sent net.Conn) bool
}

// Taken is what a program has got of a socket.
type Taken struct {
	// Held says that a transparent listener has its connection, and knows where it was meant for.
	Held bool
	// Door is by what a request of it came; empty: none has been decided.
	Door event.Door
	// Channel and Code are those of that request; empty: none was chosen; it was carried.
	Channel string
	Code    fault.Code
}

// takenLimit is how long is waited for the program to have what was sent to others: it is on its way inside of this host.
const takenLimit = 2 * time.Second

// pastUs are the causes of a leak of what is not handed over: over IPv6 alone there is another.
const (
	pastUs        = "H2"
	packetsPastUs = "D1"
)

const fixRules = "load the rules of docs/transparent.md for this mode, for both families, and have a listener for each: `nft list ruleset` shows what stands; whatever loads rules of its own may have thrown them away"

const fixAnswer = "see the evidence for why the canary did not answer: it has to have a certificate for the names below its zone, by the authority that is trusted for its API"

// handing is a family under test.
type handing struct {
	Handing
	r       *run
	f       *findings
	channel string
	packets bool         // a listener of the family takes datagrams
	family  string       // for people
	asked   dnswire.Type // its addresses
	name    visited      // the name that it is given out for
	host    string
	at      netip.AddrPort // of the canary, given out for host
}

// tryHandedOver sends what programs of this host send that know of no proxy, to the canary alone, and looks whether the listeners get
// it to which the firewall hands it over. Nothing is said over a connection before it is known that they have it.
func tryHandedOver(ctx context.Context, r *run, f *findings) {
	doors := r.doorsOf(DoorTransparent, f)
	if len(doors) == 0 {
		return
	}
	subject, ok := r.o.Subject.(Handing)
	if !ok {
		f.skip("nothing can be sent here as other programs send it")
		return
	}
	channel := r.leads(f)
	if channel == "" {
		return
	}
	if r.known[channel].channel.Exit {
		f.skip("the channel %s leaves names to its exit, so that no address is given out to programs", channel)
		return
	}
	f.need()
	var trying sync.WaitGroup
	for _, family := range families {
		h := &handing{Handing: subject, r: r, f: f, channel: channel, family: map[dnswire.Type]string{dnswire.A: "IPv4", dnswire.AAAA: "IPv6"}[family.kind], asked: family.kind}
		h.packets = slices.ContainsFunc(doors, func(d Door) bool { return d.Packets && d.Address.Addr().Is4() == (family.kind == dnswire.A) })
		h.name = visited{channel: channel, what: "what is handed over, " + h.family, cause: causeOf(family.kind)}
		h.name.label, h.host = r.name(family.branch)
		trying.Go(func() {
			defer guard(f)
			h.try(ctx)
		})
	}
	trying.Wait()
}

// try tries one family: the address of a fresh name is given out by a DNS door, and everything is sent to that.
func (h *handing) try(ctx context.Context) {
	if !h.given(ctx) {
		return // that a name was looked up shows nothing of what is handed over
	}
	defer func() { h.f.visit(h.name) }()
	for _, network := range []string{"tcp", "udp"} {
		h.resolves(ctx, network)
	}
	if h.connects(ctx) { // else there is no way to addresses of the family
		h.unasked(ctx)
		h.sends(ctx)
	}
}

// given has a DNS door give out the address of a fresh name. It says false where there is none.
func (h *handing) given(ctx context.Context) bool {
	for _, d := range h.r.doors {
		if d.Kind != DoorDNS || d.Unfit != "" {
			continue
		}
		a, err := question(ctx, d, d.askings()[0], dnswire.Question{Name: h.host, Type: h.asked})
		if err != nil {
			h.f.doubt("see whether the listener answers: `dig @ADDRESS -p PORT`", "dns %s: %v", d.At, err)
			return false
		}
		h.name.must = true
		var others netip.Addr
		for _, record := range a.Final() {
			switch addr := record.Addr.Unmap(); {
			case !addr.IsValid():
			case slices.ContainsFunc(h.r.zone.Addresses, func(own netip.Addr) bool { return own.Unmap() == addr }):
				h.at = netip.AddrPortFrom(addr, h.r.api.port)
			default:
				others = addr
			}
		}
		switch {
		case h.at.IsValid():
			return h.leaves(ctx)
		case others.IsValid():
			h.f.doubt("see who answers for the canary's zone: `watertight canary check`", "over %s: a name of the canary leads to %s, which it does not say is its own: nothing is sent there", h.family, others)
		default:
			h.f.skip("over %s: the canary has no such address, or the policy gives it to nobody", h.family)
		}
		return false
	}
	h.f.skip("no DNS door gives out the address of a name (`listen.dns`)")
	return false
}

// leaves says whether what is sent to the address leaves this host, unless it is handed over. Nothing is sent yet.
func (h *handing) leaves(ctx context.Context) bool {
	if !h.at.Addr().IsGlobalUnicast() {
		h.f.skip("over %s: %s is no address of another host", h.family, h.at.Addr())
		return false
	}
	conn, err := h.send(ctx, "udp", h.at.Port())
	switch {
	case unroutable(err):
		h.f.skip("over %s: this host has no way to it: %v", h.family, err)
		return false
	case err != nil: // as the firewall refuses it, which is tried
		return true
	}
	defer conn.Close()
	if here, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil && here.Addr().Unmap() == h.at.Addr() {
		h.f.skip("over %s: the canary is on this host, and what is sent to it does not leave", h.family)
		return false
	}
	return true
}

// send opens a socket, which nobody takes for a leak of this program's own.
func (h *handing) send(ctx context.Context, network string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	conn, err := h.Send(ctx, network, netip.AddrPortFrom(h.at.Addr(), port))
	if err != nil {
		return nil, err
	}
	h.r.outside.add(network, conn)
	return conn, nil
}

// took waits until the program has got what is meant by has, and gives what that is. It says false where it has not.
func (h *handing) took(ctx context.Context, sent net.Conn, has func(Taken) bool) (Taken, bool) {
	ctx, cancel := context.WithTimeout(ctx, takenLimit)
	defer cancel()
	for {
		if t := h.Took(sent); has(t) || ctx.Err() != nil {
			return t, has(t)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// past is a leak of what was not handed over, unless there was no time to see whether it was, or it did not leave this host.
func (h *handing) past(ctx context.Context, sent net.Conn, cause, format string, args ...any) {
	switch {
	case ctx.Err() != nil:
		h.f.doubt("run it again", "over %s: there was no time left to see what is handed over", h.family)
		return
	case h.Here(sent):
		h.f.doubt("run it again while this host is less busy, or find out whose rules lead it elsewhere: `nft list ruleset`",
			"over %s: what was sent to %s is led to this host, and the listener that it is for has not taken it", h.family, sent.RemoteAddr())
		return
	}
	h.f.leak(orElse(h.name.cause, cause), fixRules, format, args...)
}

// held opens a connection to the canary that a transparent listener has. It gives nil after it has said why there is none; noWay
// says that this host has no way to the family.
func (h *handing) held(ctx context.Context, what string) (conn net.Conn, noWay bool) {
	conn, err := h.send(ctx, "tcp", h.at.Port())
	switch {
	case unroutable(err):
		h.f.skip("over %s: this host has no way to it: %v", h.family, err)
		return nil, true
	case err != nil:
		h.f.doubt(fixRules, "%s: it is neither handed over nor connected: %v", what, err)
		return nil, false
	}
	has := func(t Taken) bool { return t.Held || t.Door == event.DoorTransparent } // which may have refused it already
	if _, ok := h.took(ctx, conn, has); !ok && ended(conn) {
		h.f.doubt("see `limits.connections`, and run it again", "%s: who took it has ended it at once, and no transparent listener tells of it", what)
		_ = conn.Close()
		return nil, false
	} else if !ok {
		h.past(ctx, conn, pastUs, "%s: it went to the canary at %s past the transparent listener; nothing was said over it", what, h.at)
		_ = conn.Close()
		return nil, false
	}
	return conn, false
}

// connects connects to the address that was given out, and says its name. It says false where there is no way to the family.
func (h *handing) connects(ctx context.Context) bool {
	what := "a connection of a program of this host, " + h.family
	conn, noWay := h.held(ctx, what)
	if conn == nil {
		return !noWay
	}
	defer conn.Close()
	h.r.mu.Lock()
	h.r.shown[h.name.label] = h.channel
	h.r.mu.Unlock()
	err := h.r.api.visit(ctx, conn, h.host)
	taken, _ := h.took(ctx, conn, func(t Taken) bool { return t.Door != "" })
	h.judgeChannel(what, taken)
	switch {
	case err != nil && taken.Code != "":
		h.f.doubt(fixConnect, "%s: it is handed over, and refused with %s", what, taken.Code)
	case err != nil:
		h.f.doubt(fixAnswer, "%s: it is handed over, and no answer of the canary came back: %v", what, err)
	default:
		h.name.came = true
		h.f.held("%s: it is handed over, and the canary answered", what)
	}
	return true
}

// unasked connects to the address, and says another name for which none was given out.
func (h *handing) unasked(ctx context.Context) {
	if p := h.r.about.Policy.ClientResolved; p != "refuse" {
		h.f.skip("`policy.client_resolved` is %s: a name for which no address was given out is carried", p)
		return
	}
	label, host := h.r.name(visit.Plain)
	v := visited{label: label, what: "a connection of a program that has the address from elsewhere, " + h.family, nobody: true, cause: "H1"}
	conn, _ := h.held(ctx, v.what)
	if conn == nil {
		return
	}
	defer conn.Close()
	err := h.r.api.visit(ctx, conn, host)
	taken, _ := h.took(ctx, conn, func(t Taken) bool { return t.Door != "" })
	switch {
	case taken.Code == fault.PolicyClientResolved:
		h.f.held("%s: refused with %s", v.what, taken.Code)
	case err == nil || taken.Door != "" && taken.Code == "":
		h.f.leak("H1", fixPolicy, "%s: it was carried", v.what)
	default:
		h.f.doubt("see `watertight status`, and run it again", "%s: it was refused for another reason, %s, and not by %s", v.what, orElse(string(taken.Code), "not known"), fault.PolicyClientResolved)
	}
	h.f.visit(v)
}

// sends sends a datagram that says nothing to the address.
func (h *handing) sends(ctx context.Context) {
	what := "a datagram of a program of this host, " + h.family
	conn, err := h.send(ctx, "udp", h.at.Port())
	if err == nil {
		defer conn.Close()
		_, err = conn.Write([]byte{0})
	}
	switch {
	case unroutable(err):
		h.f.skip("%s: this host has no way to it: %v", what, err)
		return
	case err != nil && h.packets:
		h.f.doubt(fixRules, "%s: it is turned away, and not handed over: %v", what, err)
		return
	case err != nil:
		h.f.held("%s: it is turned away: %v", what, err)
		return
	}
	taken, ok := h.took(ctx, conn, func(t Taken) bool { return t.Door != "" })
	if !ok {
		h.past(ctx, conn, packetsPastUs, "%s: it left for the canary at %s, and no transparent listener has it", what, h.at)
		return
	}
	h.judgeChannel(what, taken)
	h.f.held("%s: it is handed over%s", what, map[bool]string{false: ", and refused with " + string(taken.Code)}[taken.Code == ""])
}

// resolves asks a question of the canary's address as if that was a resolver: for a name that is answered here, and tells nothing where
// it is not handed over.
func (h *handing) resolves(ctx context.Context, network string) {
	what := fmt.Sprintf("a question of a program of this host to a resolver of others over %s, %s", strings.ToUpper(network), h.family)
	conn, err := h.send(ctx, network, 53)
	if err == nil {
		defer conn.Close()
		err = h.asks(conn, network)
	}
	switch {
	case unroutable(err):
		h.f.skip("%s: this host has no way to it: %v", what, err)
		return
	case err != nil:
		h.f.doubt(fixRules, "%s: it is neither handed over nor sent: %v", what, err)
		return
	}
	taken, ok := h.took(ctx, conn, func(t Taken) bool { return t.Door != "" })
	if !ok || taken.Door != event.DoorDNS {
		h.past(ctx, conn, pastUs, "%s: it left in clear for %s, and no DNS door has it", what, h.at.Addr())
		return
	}
	h.f.held("%s: the DNS door has it", what)
	if network == "udp" {
		h.learns(ctx, conn)
	}
}

// learns asks for another fresh name over a socket whose questions the DNS door has: a program that connects has asked from the
// address that it connects from.
func (h *handing) learns(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	label, host := h.r.name(map[dnswire.Type]visit.Branch{dnswire.A: visit.V4, dnswire.AAAA: visit.V6}[h.asked])
	q := dnswire.Question{Name: host, Type: h.asked}
	query, err := dnswire.Query(q, questionID+1, 0)
	if err == nil {
		_, err = conn.Write(query)
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Now().Add(doorLimit))
	}
	for b := make([]byte, dnswire.MaxMessage); err == nil; {
		var n int
		if n, err = conn.Read(b); err != nil {
			break
		}
		a, unfit := dnswire.ParseAnswer(b[:n], q, questionID+1)
		if unfit != nil { // that of the question before
			continue
		}
		asked := visited{label: label, channel: h.channel, what: "a question that is handed over, " + h.family, must: true, cause: h.name.cause}
		if slices.ContainsFunc(a.Final(), func(r dnswire.Record) bool { return r.Addr.Unmap() == h.at.Addr() }) {
			asked, h.name, h.host = h.name, asked, host
		}
		h.f.visit(asked)
		return
	}
	h.f.doubt("see `watertight status`, and run it again", "a question that is handed over, %s: %v", h.family, err)
}

// asks writes the question.
func (h *handing) asks(conn net.Conn, network string) error {
	query, err := dnswire.Query(dnswire.Question{Name: "localhost", Type: dnswire.A}, questionID, 0)
	if err != nil {
		return err
	}
	if network == "tcp" {
		query = append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
	}
	_, err = conn.Write(query)
	return err
}

// judgeChannel says whether what was handed over took the channel of its name.
func (h *handing) judgeChannel(what string, t Taken) {
	if t.Channel != "" && t.Channel != h.channel && t.Code == "" {
		h.f.leak("D5", fixProgram, "%s: it took the channel %s, and not %s", what, t.Channel, h.channel)
	}
}
