package config

import "fmt"

// Modes of `listen.transparent`: how the firewall hands connections over.
const (
	ModeRedirect = "redirect" // nft's redirect: the kernel remembers where a connection was meant for
	ModeTPROXY   = "tproxy"   // nft's tproxy: the address at our end is the one that was meant
)

// TransparentListener is where the firewall hands over what was meant for others.
type TransparentListener struct {
	Listener
	Mode string // ModeRedirect or ModeTPROXY
	UDP  bool   // datagrams too, by ModeTPROXY
	// Mark is put on every packet that the program sends, so that rules of the firewall can leave them alone. 0 is none. All
	// listeners have the same, or none.
	Mark int
}

// Mark is that of all listeners, or 0.
func (l Listen) Mark() uint32 {
	for _, one := range l.Transparent {
		if one.Mark != 0 {
			return uint32(one.Mark)
		}
	}
	return 0
}

// transparent reads one address, or a map with an address and what belongs to it.
func (l *loader) transparent(n *node, path string, before []TransparentListener) TransparentListener {
	const row = "listen.transparent"
	one := TransparentListener{Mode: ModeRedirect}
	at := path
	if n.kind != kindMap {
		_, one.Address = l.socket(n, path)
	} else {
		at = path + ".address"
		l.fields(n, row, path, func(key string, n *node, path string) {
			switch key {
			case "address":
				_, one.Address = l.socket(n, path)
			case "mode":
				choice(l, n, path, keyAt(row+".mode"), &one.Mode)
			case "udp":
				l.truth(n, path, &one.UDP)
			case "mark":
				l.integer(n, path, keyAt(row+".mark"), &one.Mark)
			case "allow_insecure":
				l.truth(n, path, &one.AllowInsecure)
			}
		})
		if !l.stands(at) {
			l.problem(n.pos, fmt.Sprintf("`%s` has no `address`", path), "write `address: 127.0.0.1:8081`, or the address alone in place of the map")
		}
	}
	where := n.pos
	if at != path {
		where = l.at(at)
	}
	l.beyond(one, where, at)
	if one.UDP && one.Mode != ModeTPROXY {
		l.problem(l.at(path+".udp"), fmt.Sprintf("`%s.udp` cannot be: the kernel does not tell where a datagram was meant for that was redirected", path), "write `mode: tproxy` with it, and rules of nft with `tproxy`")
	}
	if one.Mode == ModeTPROXY && one.Address.IsValid() && one.Address.Addr().IsUnspecified() {
		l.problem(where, fmt.Sprintf("%s takes its port on every address, so that what is meant for that port elsewhere could not be told from what is meant for this program", l.say(at, one.Address.String())), fmt.Sprintf("write 127.0.0.1:%d and [::1]:%d: `tproxy` hands over whatever address a packet was sent to", one.Address.Port(), one.Address.Port()))
	}
	for _, b := range before {
		if b.Mark != 0 && one.Mark != 0 && b.Mark != one.Mark {
			l.problem(l.at(path+".mark"), fmt.Sprintf("the mark %d stands beside %d of another listener, and the program has one mark for all that it sends", one.Mark, b.Mark), "write the same mark, or leave it out in all but one")
			break
		}
	}
	return one
}

// beyond refuses an address beyond this host, unless the user gave the word for it.
func (l *loader) beyond(one TransparentListener, at pos, path string) {
	if !one.Address.IsValid() {
		return // reported already
	}
	shown := l.say(path, one.Address.String())
	switch local := one.Address.Addr().IsLoopback(); {
	case !local && !one.AllowInsecure:
		l.problem(at, fmt.Sprintf("%s can be reached from other hosts, and it has no users", shown),
			fmt.Sprintf("listen on 127.0.0.1:%d, which `tproxy` hands over to from a network too; or, where a firewall protects it, write {address: %q, allow_insecure: true}", one.Address.Port(), shown))
	case !local:
		l.warn(at, fmt.Sprintf("whoever's connections are redirected to %s can use it: it has no users", shown), "see that a firewall protects it")
	case one.AllowInsecure:
		l.warn(at, fmt.Sprintf("`allow_insecure` changes nothing for %s: it is on loopback", shown), "remove it")
	}
}

func (c *Config) transparentListeners() []any {
	var list []any
	for i, one := range c.Listen.Transparent {
		at := fmt.Sprintf("listen.transparent[%d]", i)
		full := entries{{"address", c.text(at, c.text(at+".address", one.Address.String()))}, {"mode", c.text(at+".mode", one.Mode)}, {"udp", one.UDP}}
		if one.Mark != 0 {
			full = append(full, entry{"mark", one.Mark})
		}
		if one.AllowInsecure {
			full = append(full, entry{"allow_insecure", true})
		}
		list = append(list, full)
	}
	return list
}
