package config

import (
	"cmp"
	"fmt"
	"net/netip"
)

// GuardMark is the mark of all that the program sends where there is a `guard` and no `mark` of `listen.transparent`.
const GuardMark = 119

// guardBit is set by the guard's rules in the mark of what they let through, so it cannot tell who sent something.
const guardBit = 1 << 30

// Bounds on `guard.allow`. What stays within them never is everything, nor nearly so: 64 of the widest IPv4 networks are a
// quarter of all.
const (
	maxAllowed       = 64
	widestAllowed4   = 8
	widestAllowed6   = 16
	whyNotEverything = "all of that could be reached past the guard"
)

// Guard is what the host's firewall guard (`watertight guard`) lets through beside this program. That the key is written means
// that everything this program sends is marked; it does not turn the guard on.
type Guard struct {
	Allow []netip.Prefix // masked, none inside another, at most 64

	mark uint32 // that of `listen.transparent`, whatever becomes of those listeners; 0 for none
}

// Mark is put on every packet that the program sends, for rules of the firewall: that of `listen.transparent`, else
// [GuardMark] where there is a `guard`, else 0, which is none.
func (c *Config) Mark() uint32 {
	if m := c.Listen.Mark(); m != 0 {
		return m
	}
	if c.Guard != nil {
		return cmp.Or(c.Guard.mark, GuardMark)
	}
	return 0
}

func (l *loader) guard(n *node, c *Config) {
	var g Guard
	if l.fields(n, "guard", "guard", func(_ string, n *node, path string) { l.allowed(n, path, &g) }) {
		c.Guard = &g
	}
}

// allowed reads the networks that every program may reach past this one.
func (l *loader) allowed(n *node, path string, g *Guard) {
	if !l.fewer(n.pos, path, len(n.list), maxAllowed) {
		return
	}
	l.networks(n, path, "192.168.0.0/16", func(n *node, path string, p netip.Prefix) {
		if what, mend := unguarded(p); what != "" {
			l.problem(n.pos, fmt.Sprintf("`%s`: %s %s", path, l.say(path, p.String()), what), mend)
			return
		}
		for _, other := range g.Allow {
			if other.Overlaps(p) {
				l.problem(n.pos, fmt.Sprintf("`%s`: %s is in the list twice: %s has it too", path, l.say(path, p.String()), other), "keep one of them, the wider")
				return
			}
		}
		if !near(p) {
			l.warn(n.pos, fmt.Sprintf("every program of this host may reach %s past the guard, which is not of this host's own networks", l.say(path, p.String())), "remove it unless somebody needs it")
		}
		g.Allow = append(g.Allow, p)
	})
}

// near says that a network is within those that are private, a link's or this host's (RFC 1918, RFC 4193, RFC 3927, RFC 4291).
func near(p netip.Prefix) bool {
	for _, text := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"} {
		if own := netip.MustParsePrefix(text); own.Bits() <= p.Bits() && own.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// everyone4 are the IPv6 networks through which all of IPv4 is reached (RFC 6052, RFC 3056).
var everyone4 = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16")}

// unguarded says why a network cannot stand in `guard.allow`, and what to write; nothing where it can.
func unguarded(p netip.Prefix) (what, mend string) {
	const narrower = "write the networks that are needed, such as 192.168.0.0/16"
	widest := widestAllowed4
	if p.Addr().Is6() {
		widest = widestAllowed6
	}
	switch {
	case p.Bits() == 0:
		return "is everything, and with it there would be no guard", narrower + "; or remove the key `guard`"
	case p.Addr().IsMulticast() || p.Overlaps(netip.MustParsePrefix("ff00::/8")) || p.Overlaps(netip.MustParsePrefix("224.0.0.0/4")):
		return "is for multicast, by which names are asked for in the local network", "remove it; what a link needs is let through in any case"
	case p.Bits() < widest && !near(p):
		return fmt.Sprintf("is wider than /%d: %s", widest, whyNotEverything), narrower
	case p.Addr().IsUnspecified() || p.Overlaps(netip.MustParsePrefix("0.0.0.0/8")):
		return "is nobody's", narrower
	}
	for _, e := range everyone4 {
		if p.Overlaps(e) && p.Bits() <= e.Bits() {
			return fmt.Sprintf("leads to every IPv4 address: %s", whyNotEverything), "write narrower ones of it, with the IPv4 networks that are needed"
		}
	}
	return "", ""
}

// checkGuard keeps the mark, and refuses a mark that could not be told from what the guard's rules write.
func (l *loader) checkGuard(c *Config) {
	if c.Guard == nil {
		return
	}
	c.Guard.mark = c.Listen.Mark()
	for i, one := range c.Listen.Transparent {
		if one.Mark&guardBit != 0 {
			path := fmt.Sprintf("listen.transparent[%d].mark", i)
			if !l.stands(path) {
				path = "listen.transparent.mark"
			}
			l.problem(l.at(path), fmt.Sprintf("the mark %d has the bit %#x, which the rules of the guard set", one.Mark, guardBit), fmt.Sprintf("write a mark below that, such as %d", GuardMark))
		}
	}
}

// empty is a map with nothing in it, as Show gives it.
type empty struct{}

func (c *Config) guardTree() any {
	if len(c.Guard.Allow) == 0 {
		return empty{}
	}
	return entries{{"allow", texts(c.Guard.Allow, func(i int, p netip.Prefix) string {
		return c.text(fmt.Sprintf("guard.allow[%d]", i), p.String())
	})}}
}
