package config

import (
	"fmt"
	"slices"
	"strings"

	"watertight/channel"
	"watertight/hop"
	"watertight/route"
)

// check looks at what the parts promise about each other, once all of them are read.
func (l *loader) check(c *Config) {
	l.checkListeners(c)
	l.checkTold(c)
	l.checkGuard(c)
	names := make([]string, 0, len(c.Channels))
	for _, ch := range c.Channels {
		names = append(names, ch.Name)
	}
	sound := l.checkOver(c, names)
	if sound {
		l.checkCarried(c)
		l.checkHopNames(c)
		l.checkTunnels(c)
	}
	sound = l.checkTargets(c, names) && sound
	sound = l.checkGateway(c, names) && sound
	sound = l.checkACME(c, names) && sound
	sound = l.checkLeakTest(c, names) && sound
	l.checkShadows(c)
	if sound {
		l.checkReached(c)
		l.checkLabels(c)
	}
}

// checkListeners refuses two listeners that the kernel would not open side by side.
func (l *loader) checkListeners(c *Config) {
	type door struct {
		socket
		path string
	}
	var doors []door
	all := c.Listen.sockets()
	if c.ACME.HTTP.IsValid() {
		all["acme.http"] = []socket{{c.ACME.HTTP, true, false}}
	}
	for _, path := range []string{"listen.proxy", "listen.admin", "listen.gateway", "listen.dns", "listen.transparent", "acme.http"} {
		for i, one := range all[path] {
			now := door{one, fmt.Sprintf("%s[%d]", path, i)}
			if !now.address.IsValid() {
				continue
			}
			for _, d := range doors {
				if overlap(d.socket, now.socket) {
					l.problem(l.at(now.path+".address"), fmt.Sprintf("%s is taken already by %s on line %d", l.say(now.path, l.say(now.path+".address", now.address.String())), path0(d.path), l.at(d.path).line), "give each listener its own port")
					break
				}
			}
			doors = append(doors, now)
		}
	}
}

// overlap says that two sockets cannot both be opened: a socket for every address takes its port on all of them. A port
// of TCP and one of UDP are two.
func overlap(a, b socket) bool {
	x, y := a.address, b.address
	return (a.tcp && b.tcp || a.udp && b.udp) && x.Port() == y.Port() && x.Port() != 0 &&
		(x.Addr() == y.Addr() || x.Addr().IsUnspecified() || y.Addr().IsUnspecified())
}

// path0 is a path without the position in a list.
func path0(path string) string {
	path, _, _ = strings.Cut(path, "[")
	return "`" + path + "`"
}

// checkOver refuses a channel over one that does not exist, or over itself by a detour.
func (l *loader) checkOver(c *Config, names []string) bool {
	sound := true
	for _, ch := range c.Channels {
		if ch.Name != DirectName && !slices.Contains(names, ch.Over) {
			sound = false
			l.problem(l.at("channels."+ch.Name+".over"), fmt.Sprintf("there is no channel `%s` for `%s` to stand on", l.say("channels."+ch.Name+".over", ch.Over), ch.Name), orNearest(ch.Over, names, ""))
		}
	}
	if !sound {
		return false
	}
	told := map[string]bool{}
	for _, ch := range c.Channels {
		if cycle := cycleFrom(c, ch.Name); cycle != nil && !told[ch.Name] {
			sound = false
			for _, name := range cycle {
				told[name] = true
			}
			way := strings.Join(append(cycle, cycle[0]), " over ")
			l.problem(l.at("channels."+ch.Name+".over"), "the channels stand on each other in a circle: "+clip(way), "let one of them stand over `direct`")
		}
	}
	return sound
}

// checkCarried refuses an upstream that the hops of its channel, or of those underneath, cannot carry, and a proxy that the
// one before it cannot be asked for.
func (l *loader) checkCarried(c *Config) {
	for _, ch := range c.Channels {
		var proxies []hop.Proxy // from the ground up; of a pool the one that carries the least
		for name := ch.Name; name != ""; {
			below, _ := c.Channel(name)
			if proxies, name = append(slices.Clone(below.ways()), proxies...), below.Over; below.WireGuard != nil {
				break // it carries what is above it
			}
		}
		if err := linked(proxies[:len(proxies)-len(ch.ways())], ch); err != nil {
			l.problem(l.at("channels."+ch.Name+".proxy"), fmt.Sprintf("the proxies of `%s` cannot be reached: %v", ch.Name, err), "give the next proxy by its name or an IPv4 address, and put only hops that carry datagrams before h3://")
		}
		for i, u := range ch.Resolver.Upstreams {
			err := channel.Carry(u.Kind, proxies)
			mend := "give a resolver as https://… or tls://…"
			if _, ok := channel.Dialled(u, channel.CarriesIPv6(proxies)); err == nil && !ok {
				err = fmt.Errorf("it has IPv6 addresses only, and %v cannot be asked for one", proxies[len(proxies)-1])
				mend = "give the resolver's IPv4 addresses"
			}
			if err != nil {
				l.problem(ch.Resolver.sources[i].pos, fmt.Sprintf("the resolver %s cannot be reached from `%s`: %v", clip(u.Text), ch.Name, err), mend)
			}
		}
	}
}

// linked refuses proxies of a channel, or members of its pool, that what is below cannot be asked for, or does not carry what they
// travel in.
func linked(below []hop.Proxy, ch Channel) error {
	chains := [][]hop.Proxy{ch.Proxies}
	if ch.Pool != nil {
		chains = slices.Collect(slices.Chunk(ch.Pool.Spec.Members, 1))
	}
	for _, own := range chains {
		if len(own) == 0 {
			continue
		}
		if err := hop.Linked(slices.Concat(below, own)); err != nil {
			return err
		}
	}
	return nil
}

// checkHopNames refuses a later proxy by name over a channel that resolves no names: nobody could look it up. The first proxy
// is dialled by that channel, whose exit gets its name.
//
// It refuses a resolver by name there too, for the same reason.
func (l *loader) checkHopNames(c *Config) {
	for _, ch := range c.Channels {
		below, ok := c.Channel(ch.Over)
		if !ok || !below.ResolveAtExit {
			continue
		}
		for i, u := range ch.Resolver.Upstreams {
			if u.Named.IsValid() {
				l.problem(ch.Resolver.sources[i].pos, fmt.Sprintf("nobody could look up the resolver %s: `%s` stands over `%s`, which leaves names to its exit", clip(u.Text), ch.Name, below.Name),
					fmt.Sprintf("give the resolver's `addresses`; or write `resolve: here` and a `resolver` for `%s`", below.Name))
			}
		}
		for i, p := range ch.Proxies {
			path := fmt.Sprintf("channels.%s.proxy[%d]", ch.Name, i)
			if host, named := p.Host.Name(); named && i > 0 {
				l.problem(l.at(path), fmt.Sprintf("nobody could look up the proxy %s: `%s` stands over `%s`, which leaves names to its exit", l.say(path, host), ch.Name, below.Name),
					fmt.Sprintf("give the proxy's address; or write `resolve: here` and a `resolver` for `%s`", below.Name))
			}
		}
	}
}

// cycleFrom gives the circle that leads from a channel back to it, or nil.
func cycleFrom(c *Config, start string) []string {
	way := []string{start}
	for name := start; ; {
		ch, _ := c.Channel(name)
		name = ch.Over
		switch {
		case name == start:
			return way
		case name == "" || len(way) > len(c.Channels):
			return nil
		}
		way = append(way, name)
	}
}

// checkTargets refuses a route to a channel that does not exist.
func (l *loader) checkTargets(c *Config, names []string) bool {
	sound := true
	for i, r := range c.Routes {
		if r.Refuse || r.Channel == "" || slices.Contains(names, r.Channel) {
			sound = sound && (r.Refuse || r.Channel != "")
			continue
		}
		sound = false
		path := fmt.Sprintf("routes[%d].channel", i)
		l.problem(l.at(path), fmt.Sprintf("there is no channel `%s`", l.say(path, r.Channel)),
			orNearest(r.Channel, append(slices.Clone(names), RefuseName), ""))
	}
	return sound
}

// checkShadows refuses a pattern that can never decide, since one before it takes all it is for. The work is bounded:
// the last routes of a very long list are compared with the first ones only.
func (l *loader) checkShadows(c *Config) {
	type placed struct {
		pattern route.Pattern
		users   []route.UserPattern
		path    string
	}
	const most = 2000
	var before []placed
	for i, r := range c.Routes {
		for j, p := range r.To {
			path := fmt.Sprintf("routes[%d].to[%d]", i, j)
			if p.String() == "" {
				continue
			}
			k := slices.IndexFunc(before, func(b placed) bool { return b.pattern.Covers(p) && coverUsers(b.users, r.Users) })
			if k >= 0 {
				first := before[k]
				l.problem(l.at(path), fmt.Sprintf("`%s` never decides: `%s` on line %d takes all of it first",
					l.say(path, p.String()), l.say(first.path, first.pattern.String()), l.at(first.path).line), "move it above that line, or remove it")
			} else if len(before) < most {
				before = append(before, placed{p, r.Users, path})
			}
		}
	}
}

// coverUsers says that a route for the users p is for all of q too; none written means everyone.
func coverUsers(p, q []route.UserPattern) bool {
	if len(p) == 0 || len(q) == 0 {
		return len(p) == 0
	}
	return !slices.ContainsFunc(q, func(one route.UserPattern) bool {
		return !slices.ContainsFunc(p, func(other route.UserPattern) bool { return other.Covers(one) })
	})
}

// checkReached refuses a channel that no traffic can take: it would be mistaken for one that does something.
func (l *loader) checkReached(c *Config) {
	reached := map[string]bool{DirectName: true}
	var named []string
	for _, r := range c.Routes {
		named = append(named, r.Channel)
	}
	for _, g := range c.Gateway {
		named = append(named, g.Channel)
	}
	named = append(named, c.ACME.Channel, c.LeakTest.Canary.Channel, c.LeakTest.Webhook.Channel)
	for _, name := range named {
		for name != "" && !reached[name] {
			reached[name] = true
			ch, _ := c.Channel(name)
			name = ch.Over
		}
	}
	for _, ch := range c.Channels {
		if reached[ch.Name] {
			continue
		}
		what := fmt.Sprintf("nothing leads to the channel `%s`: no route names it, and it carries no channel that one names", ch.Name)
		if len(c.Routes) == 0 {
			what = fmt.Sprintf("nothing leads to the channel `%s`: no routes are written, so everything takes `direct`", ch.Name)
		}
		l.problem(l.at("channels."+ch.Name), what, fmt.Sprintf("add a route to it, such as `- {to: \"*.example.com\", channel: %s}`, or remove the channel", ch.Name))
	}
}
