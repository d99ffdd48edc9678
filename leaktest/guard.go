package leaktest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"watertight/visit"
)

const (
	fixGuardOn      = "sudo watertight guard on"
	fixGuardChanged = "sudo watertight guard on   # it puts back what was changed; then find out who changes the firewall: `nft monitor` shows it"
	fixGuardRights  = "run the test as root, or give the program CAP_NET_ADMIN: what the firewall has is told to nobody else"
)

// guarded is what is known of the host's guard in a run.
type guarded struct {
	subject Guarded // nil: there is none here
	before  Guard
	err     error
	said    string           // what came of it, for the report
	strays  map[string]Stray // by label: what was to be refused
	// counting is held by who looks whether the counters rise by what he does.
	counting sync.Mutex
}

// meetGuard reads back what guards the host before anything is tried.
func (r *run) meetGuard(ctx context.Context) {
	r.guarded.strays = map[string]Stray{}
	g, ok := r.o.Subject.(Guarded)
	if !ok {
		return
	}
	r.guarded.subject = g
	r.guarded.before, r.guarded.err = g.Guard(ctx)
}

// guardNow is what guards the host now, where the configuration asks for a guard and it can be read back.
func (r *run) guardNow(ctx context.Context) (Guard, bool) {
	if r.noGuard() != "" {
		return Guard{}, false
	}
	g, err := r.guarded.subject.Guard(ctx)
	return g, err == nil && g.Armed
}

// noGuard says why the guard is not looked at; empty: it is.
func (r *run) noGuard() string {
	switch {
	case r.guarded.subject == nil:
		return "a guard of the host is there on Linux only"
	case !r.guarded.before.Written:
		return "the configuration has no `guard`"
	}
	return ""
}

// tryGuardHeld reads back what guards the host, and what it has refused while the test ran.
func tryGuardHeld(ctx context.Context, r *run, f *findings) {
	if why := r.noGuard(); why != "" {
		f.skip("%s", why)
		return
	}
	f.need()
	before := r.guarded.before
	g, err := r.guarded.subject.Guard(ctx)
	switch {
	case err != nil:
		r.guarded.said = "not known: " + clean(err.Error())
		f.doubt(fixGuardRights, "the configuration has `guard`, and what guards this host cannot be read back: %v", err)
	case !g.Armed && g.Why != "":
		r.guarded.said = "not known: " + clean(g.Why)
		f.doubt(fixGuardOn, "the configuration has `guard`, and nobody says what it should be: %s", g.Why)
	case !g.Armed:
		r.guarded.said = "off"
		f.doubt(fixGuardOn, "the configuration has `guard`, and the guard is off: nothing keeps other programs of this host from the network")
	case !g.Held:
		r.guarded.said = "it does not hold"
		f.leak("", "", "the guard was turned on, and does not hold: %s", orElse(g.Why, "its tables are not what they were"))
	default:
		counted := g.Refused.since(before.Refused)
		r.guarded.said = g.inWords() + "; refused while the test ran: " + counted.inWords()
		f.held("%s", g.inWords())
		f.note("refused while the test ran: %s", counted.inWords())
		if r.guarded.err == nil && before.Armed && !before.Held {
			f.leak("", "", "the guard did not hold when the test began (%s), and has been put back since", orElse(before.Why, "its tables were not what they had been"))
		}
	}
}

// inWords is a guard that holds, in a sentence.
func (g Guard) inWords() string {
	text := "the guard holds as it was turned on"
	if !g.Since.IsZero() {
		text += ", since " + g.Since.UTC().Format("2006-01-02T15:04:05Z")
	}
	if len(g.Uplinks) > 0 {
		text += ", at " + strings.Join(g.Uplinks, " and ")
	}
	if len(g.Allow) > 0 {
		var nets []string
		for _, p := range g.Allow {
			nets = append(nets, p.String())
		}
		text += "; every program may reach " + strings.Join(nets, ", ")
	}
	return text
}

// inWords says how many packets of what kind were refused.
func (c Refused) inWords() string {
	var parts []string
	for _, one := range []struct {
		n    uint64
		what string
	}{
		{c.DNS, "for DNS"},
		{c.DoT, "for encrypted DNS"},
		{c.LocalNames, "for names of the local network"},
		{c.Forwarded, "that were to be forwarded"},
		{c.Raw, "past the firewall (AF_PACKET)"},
		{c.Other, "of other kinds"},
	} {
		if one.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", one.n, one.what))
		}
	}
	if len(parts) == 0 {
		return "no packet"
	}
	return "packets: " + strings.Join(parts, ", ")
}

// tryGuardRefuses has a program without the mark try to send names of the canary to the canary, and nothing else to nobody else.
func tryGuardRefuses(ctx context.Context, r *run, f *findings) {
	if why := r.noGuard(); why != "" {
		f.skip("%s", why)
		return
	}
	r.guarded.counting.Lock()
	defer r.guarded.counting.Unlock()
	before, err := r.guarded.subject.Guard(ctx)
	switch {
	case err != nil:
		f.skip("what guards this host cannot be read back: %v", err)
		return
	case !before.Armed:
		f.skip("the guard is off")
		return
	}
	all := r.strays(before, f)
	if len(all) == 0 {
		f.skip("the canary says no public address of its own, and nothing is sent to others")
		return
	}
	f.need()
	came, err := r.guarded.subject.Stray(ctx, all)
	if err == nil && len(came) != len(all) {
		err = fmt.Errorf("%d of %d were tried", len(came), len(all))
	}
	if err != nil {
		f.doubt("run the test again", "no program could try to get past the guard: %v", err)
		return
	}
	after, err := r.guarded.subject.Guard(ctx)
	if err != nil {
		f.doubt(fixGuardRights, "the guard's counters cannot be read: %v", err)
		return
	}
	counted, least := after.Refused.since(before.Refused), map[counter]uint64{}
	for i, s := range all {
		switch came[i].Result {
		case StrayNoWay, StrayUnable, StrayElsewhere: // which do not come to the guard
		default:
			least[s.counter()]++
		}
	}
	for i, s := range all {
		if came[i].Result == StrayElsewhere {
			r.judgeElsewhere(s, f)
			continue
		}
		judgeStray(s, came[i], counted.of(s.counter()) >= least[s.counter()], counted.Raw > least[raw], f)
	}
}

// judgeElsewhere has the canary say who asked it in the end: where the firewall hands questions over to the DNS door, that is the resolver of
// the name's channel, and else it has left past the guard.
func (r *run) judgeElsewhere(s Stray, f *findings) {
	label, _, _ := strings.Cut(s.Host, ".")
	channel, _ := r.o.Subject.Leads(s.Host) // empty: nowhere
	if r.known[channel] == nil {
		f.doubt("see whose rules lead port 53 elsewhere: `nft list ruleset`", "%s: somebody else than the canary answered, and no channel takes the name", s.inWords())
		return
	}
	f.visit(visited{label: label, what: s.inWords() + ", which somebody else answered", channel: channel, must: true, cause: s.cause()})
}

// judgeStray says whether something was refused by the guard. counted says that its counter rose by all of the kind, and late that more
// packets were stopped at the devices than were tried there.
func judgeStray(s Stray, came Strayed, counted, late bool, f *findings) {
	what, said := s.inWords(), orElse(came.Said, "no answer")
	switch {
	case came.Result == StrayNoWay, came.Result == StrayUnable:
		f.skip("%s: %s", what, said)
		return
	case came.Result == StrayAnswered:
		f.leak(s.cause(), "", "%s: the other side answered (%s)", what, said)
	case came.Result == StrayRefused && counted:
		f.held("%s: refused (%s), and counted", what, said)
	case came.Result == StraySilent && counted:
		f.held("%s: nobody took it, and the guard counted it", what)
	case came.Result == StrayRefused, came.Result == StraySilent:
		f.doubt(fixGuardChanged, "%s: it failed (%s), and the guard has not counted it: whether it would have refused it is not known", what, said)
	case counted:
		f.doubt("run the test again, while other programs are quiet", "%s: nothing said no, and the guard has refused as many packets: whether this was one of them is not known", what)
	case late && s.Kind != StrayFrame:
		f.doubt(fixGuardChanged, "%s: the guard's first table has let it pass, and its chain at the device stopped packets", what)
	default:
		f.leak(s.cause(), "", "%s: nothing refused it, and the guard has not counted it", what)
	}
	if s.Kind == StrayDatagram && s.To.Port() == 53 || s.Kind == StrayFrame {
		label, _, _ := strings.Cut(s.Host, ".")
		f.visit(visited{label: label, what: what, nobody: true, cause: s.cause()})
	}
}

// mostDevices is at how many devices a packet is tried.
const mostDevices = 8

// strays are what is tried: by each address of the canary, in each family once.
func (r *run) strays(g Guard, f *findings) (all []Stray) {
	add := func(kind StrayKind, to netip.AddrPort, change func(s *Stray)) {
		label, host := r.name(visit.Plain)
		s := Stray{Kind: kind, To: to, Host: host}
		if change != nil {
			change(&s)
		}
		r.mu.Lock()
		r.guarded.strays[label] = s
		r.mu.Unlock()
		all = append(all, s)
	}
	if g.HandedOver {
		f.skip("datagrams and connections: with `listen.transparent` the firewall may hand them over, before they come to the guard")
	}
	addrs := r.canaryAddresses()
	for _, a := range addrs {
		if g.HandedOver {
			continue
		}
		add(StrayDatagram, netip.AddrPortFrom(a, 53), nil)
		add(StrayDatagram, netip.AddrPortFrom(a, 853), nil)
		add(StrayConnect, netip.AddrPortFrom(a, 853), nil)
		if i := slices.IndexFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) }); i >= 0 {
			f.skip("%s is one of %s, which every program may reach", a, g.Allow[i])
			continue
		}
		add(StrayConnect, netip.AddrPortFrom(a, r.api.port), nil)
		if k := r.known[r.o.Canary.Channel]; len(k.channel.Hops) > 0 {
			f.skip("a flow of before the guard, to %s: it would show the canary the address of this host", a)
		} else {
			add(StrayFlow, netip.AddrPortFrom(a, r.api.port), func(s *Stray) { s.Mark = g.Mark })
		}
	}
	for _, a := range addrs {
		for _, device := range g.Uplinks[:min(len(g.Uplinks), mostDevices)] {
			add(StrayFrame, netip.AddrPortFrom(a, 53), func(s *Stray) { s.Device = device })
		}
		if n := len(g.Uplinks) - mostDevices; n > 0 {
			f.skip("packets to %d more devices", n)
		}
	}
	return all
}

// canaryAddresses gives those that the canary says are its own, one of each family: no other is sent anything. A canary is not trusted with
// those of a private network.
func (r *run) canaryAddresses() (addrs []netip.Addr) {
	for _, a := range r.zone.Addresses {
		a = a.Unmap()
		if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(addrs, func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
			continue
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// inWords says what is tried.
func (s Stray) inWords() string {
	switch s.Kind {
	case StrayDatagram:
		return fmt.Sprintf("a datagram to %s without the mark", s.To)
	case StrayConnect:
		return fmt.Sprintf("a connection to %s without the mark", s.To)
	case StrayFlow:
		return fmt.Sprintf("a connection to %s that is older than the guard, as far as the firewall knows", s.To)
	}
	return fmt.Sprintf("a packet to %s that was handed to %s (AF_PACKET)", s.To, s.Device)
}

// cause is the row of what passes.
func (s Stray) cause() string {
	if s.Kind == StrayFrame {
		return "G5"
	}
	return "G6"
}

// counter is one of the guard's.
type counter int

const (
	dns counter = iota
	dot
	raw
	other
)

// counter is the one that a refusal belongs to.
func (s Stray) counter() counter {
	switch {
	case s.Kind == StrayFrame:
		return raw
	case s.To.Port() == 53:
		return dns
	case s.To.Port() == 853:
		return dot
	}
	return other
}

// of gives what one of them says.
func (c Refused) of(which counter) uint64 {
	return map[counter]uint64{dns: c.DNS, dot: c.DoT, raw: c.Raw, other: c.Other}[which]
}

// strayed gives what was to be refused, and whose name a packet has all the same.
func (r *run) strayed(s Sighting) (Stray, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.guarded.strays[s.Label]
	return one, ok && s.What == "label"
}
