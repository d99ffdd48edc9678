package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/gate"
	"watertight/route"
)

// ProxyListener is a socket of the mixed port.
type ProxyListener struct {
	Listener
	ServerTLS
	Access
	// H3 says that HTTP/3 is spoken on the UDP port of the same number.
	H3 bool
	// Balancers are the networks of those who say by the PROXY protocol where a client is.
	Balancers []netip.Prefix
}

// Access is who may come in by a listener, with a password or a token.
type Access struct {
	// UsersFile is where Users was read from. Nil: nobody needs a password.
	UsersFile string
	Users     *gate.Users
	// TokenKeyFile is where tokenKey was read from, which signs tokens. Empty: there are none.
	TokenKeyFile string
	tokenKey     []byte
}

// Rules are what the listener asks of its clients.
func (l ProxyListener) Rules() *gate.Rules { return rules(l.Access, l.ServerTLS) }

// rules are what a listener asks of its clients.
func rules(a Access, t ServerTLS) *gate.Rules {
	var r *gate.Rules
	switch {
	case a.Users != nil:
		r = gate.Guarded(a.Users, a.tokenKey).With(t.ClientCAs)
	case t.ClientCAs != nil:
		r = gate.Certified(t.ClientCAs)
	default:
		r = gate.Open()
	}
	if t.Speaks() {
		r = r.OverTLS()
	}
	return r
}

// Plain gives the position of the first listener of the mixed port that proxy variables can name: many clients go past a
// proxy whose URL has https:// or a password. It is -1 where there is none.
func (l Listen) Plain() int {
	return slices.IndexFunc(l.Proxy, func(one ProxyListener) bool { return !one.Speaks() && one.UsersFile == "" })
}

// proxyListener reads one address of the mixed port, or a map with an address and what belongs to it.
func (l *loader) proxyListener(n *node, row, path string) ProxyListener {
	one := l.guarded(n, row, path, DefaultListen, func(one *ProxyListener, key string, n *node, path string) {
		switch key {
		case "h3":
			l.truth(n, path, &one.H3)
		case "proxy_protocol":
			l.items(n, path, func(n *node, path string) { l.balancer(n, path, one) })
		}
	})
	if one.H3 && !l.stands(path+".tls") {
		l.problem(l.at(path+".h3"), fmt.Sprintf("`%s.h3` needs a certificate: HTTP/3 is never in clear", path), "write `tls: {cert: FILE, key: FILE}` beside it")
	}
	return one
}

// guarded reads one address, or a map with an address and what is asked of those who come there. What else the map has is handed to
// more.
func (l *loader) guarded(n *node, row, path, example string, more func(one *ProxyListener, key string, n *node, path string)) ProxyListener {
	var one ProxyListener
	if n.kind != kindMap {
		_, one.Address = l.socket(n, path)
		l.reachable(one, n.pos, path)
		return one
	}
	var files *keyFiles
	l.fields(n, row, path, func(key string, n *node, path string) {
		switch key {
		case "address":
			_, one.Address = l.socket(n, path)
		case "tls":
			files = l.keyFiles(n, row+".tls", path)
		case "users":
			l.users(n, path, &one.Access)
		case "token_key":
			l.tokenKey(n, path, &one.Access)
		case "allow_insecure":
			l.truth(n, path, &one.AllowInsecure)
		default:
			more(&one, key, n, path)
		}
	})
	if !l.stands(path + ".address") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `address`", path), "write `address: "+example+"`, or the address alone in place of the map")
	}
	if files != nil {
		one.ServerTLS = l.serverTLS(files, path+".tls")
	}
	l.tokenFor(one.Access, path)
	l.reachable(one, l.at(path+".address"), path+".address")
	return one
}

// users reads the file of users. Who may read it can try passwords, and who may change it can let himself in: so it is for
// this user alone.
func (l *loader) users(n *node, path string, one *Access) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	one.UsersFile = l.relative(t.value)
	shown := l.say(path, t.value)
	octets, err := l.host.ReadFile(one.UsersFile, gate.MaxUsersFile)
	if err != nil {
		l.problem(n.pos, fmt.Sprintf("the file of users %s cannot be read: %s", shown, reason(err)), "make it with `watertight user add "+shown+" NAME`")
		return
	}
	if l.host.Exposed(one.UsersFile) {
		l.problem(n.pos, fmt.Sprintf("every user of this host may read or change the file of users %s", shown), "chmod 600 "+shown)
	}
	one.Users, err = gate.ParseUsers(octets)
	if line, ok := errors.AsType[*gate.LineError](err); ok {
		l.problem(n.pos, fmt.Sprintf("the file of users %s, %s", shown, clipError(line)), "write its lines with `watertight user add`")
	} else if err != nil {
		l.problem(n.pos, fmt.Sprintf("the file of users %s lets nobody in: %s", shown, clipError(err)), "make one with `watertight user add "+shown+" NAME`")
	}
}

// tokenKey reads the key that signs tokens.
func (l *loader) tokenKey(n *node, path string, one *Access) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	one.TokenKeyFile = l.relative(t.value)
	shown := l.say(path, t.value)
	octets, err := l.host.ReadFile(one.TokenKeyFile, gate.MaxKey)
	if err == nil && len(octets) < gate.MinKey {
		err = gate.ErrKey
	}
	if err != nil {
		l.problem(n.pos, fmt.Sprintf("the key %s cannot be used: %s", shown, reason(err)), "make it with `watertight user token --key "+shown+"`, or give one of at least 32 octets by chance")
		return
	}
	if l.host.Exposed(one.TokenKeyFile) {
		l.problem(n.pos, fmt.Sprintf("every user of this host may read or change the key %s", shown), "chmod 600 "+shown)
	}
	one.tokenKey = octets
}

// tokenFor refuses a key for tokens where there is no user for whom a token could stand.
func (l *loader) tokenFor(a Access, path string) {
	if a.TokenKeyFile != "" && !l.stands(path+".users") {
		l.problem(l.at(path+".token_key"), fmt.Sprintf("`%s.token_key` would not be used: a token stands for the password of a user, and there is no `users`", path), "write `users: FILE`, or remove it")
	}
}

// balancer reads a network of balancers.
func (l *loader) balancer(n *node, path string, one *ProxyListener) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	p, err := parseNetwork(t.value)
	switch {
	case err != nil:
		l.foreign(t, path, "a network", err, "write a network such as 10.1.0.0/16, or one address")
	case p.Bits() == 0:
		l.problem(n.pos, fmt.Sprintf("`%s` is everyone, who could then say to be anywhere", path), "list the addresses of the balancers alone")
	default:
		one.Balancers = append(one.Balancers, p)
	}
}

// routeUsers reads whom a route is for.
func (l *loader) routeUsers(n *node, path string, r *Route) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		p, err := route.ParseUser(t.value)
		r.Users = append(r.Users, p) // the zero pattern, which is nobody, keeps the place of a wrong one
		if ok && err != nil {
			l.foreign(t, path, "a user", err, "write a user such as alice, or \"team-*\" for all whose name begins so")
		}
	})
}

// reachable refuses an address beyond this host unless its clients prove who they are, over TLS, or the user gave the word
// for it.
func (l *loader) reachable(one ProxyListener, at pos, path string) {
	if !one.Address.IsValid() {
		return // reported already
	}
	shown := l.say(path, one.Address.String())
	// What was written counts, and not what could be read of it: that is reported already.
	proven, secret := one.UsersFile != "" || one.ClientCAFile != "", one.Speaks()
	lacks := map[[2]bool]string{
		{false, false}: "it has no TLS and no users",
		{false, true}:  "it has no TLS, and the passwords of its users would travel in clear text",
		{true, false}:  "it has no users, and its clients show no certificates",
	}[[2]bool{secret, proven}]
	local := one.Address.Addr().IsLoopback()
	if local && len(one.Balancers) > 0 && !proven { // the balancer's clients are those who can reach it
		local, lacks = false, "its balancers bring clients from elsewhere, and it has no users, nor do its clients show certificates"
	} else if local {
		lacks = ""
	}
	switch {
	case local && one.AllowInsecure:
		l.warn(at, fmt.Sprintf("`allow_insecure` changes nothing for %s: it is on loopback", shown), "remove it")
	case lacks == "" && one.AllowInsecure:
		l.warn(at, fmt.Sprintf("`allow_insecure` changes nothing for %s: it has TLS, and its clients prove who they are", shown), "remove it")
	case lacks == "":
	case one.AllowInsecure:
		l.warn(at, fmt.Sprintf("whoever reaches %s can use it: %s", shown, lacks), "see that a firewall protects it")
	default:
		danger := "use this proxy"
		if strings.HasPrefix(path, "listen.admin") {
			danger = "read what this proxy does"
		} else if strings.HasPrefix(path, "listen.gateway") {
			danger = "use the gateway with the secrets of its entries"
		}
		elsewhere := fmt.Sprintf("listen on 127.0.0.1:%d", one.Address.Port())
		if one.Address.Addr().IsLoopback() {
			elsewhere = "remove `proxy_protocol`"
		}
		l.problem(at, fmt.Sprintf("%s can be reached from other hosts, and anyone there could %s: %s", shown, danger, lacks),
			elsewhere+fmt.Sprintf("; or write {address: %q, tls: {cert: FILE, key: FILE}, users: FILE}; or, where a firewall protects it, allow_insecure: true", shown))
	}
}

// guards gives the tree of what a listener shows to its clients and asks of them.
func (c *Config) guards(at string, t ServerTLS, a Access) entries {
	var all entries
	if t.Speaks() {
		all = append(all, entry{"tls", c.tlsTree(at+".tls", t)})
	}
	for _, file := range [][2]string{{"users", a.UsersFile}, {"token_key", a.TokenKeyFile}} {
		if file[1] != "" {
			all = append(all, entry{file[0], c.text(at+"."+file[0], file[1])})
		}
	}
	return all
}

// proxyListeners gives the tree of the listeners of the mixed port.
func (c *Config) proxyListeners() []any {
	var list []any
	for i, one := range c.Listen.Proxy {
		at := fmt.Sprintf("listen.proxy[%d]", i)
		address := c.text(at, c.text(at+".address", one.Address.String()))
		full := entries{{"address", address}}
		full = append(full, c.guards(at, one.ServerTLS, one.Access)...)
		if one.H3 {
			full = append(full, entry{"h3", true})
		}
		if len(one.Balancers) > 0 {
			full = append(full, entry{"proxy_protocol", texts(one.Balancers, func(j int, p netip.Prefix) string {
				return c.text(fmt.Sprintf("%s.proxy_protocol[%d]", at, j), p.String())
			})})
		}
		if one.AllowInsecure {
			full = append(full, entry{"allow_insecure", true})
		}
		if len(full) > 1 {
			list = append(list, full)
		} else {
			list = append(list, address)
		}
	}
	return list
}
