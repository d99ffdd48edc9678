package config

import (
	"fmt"

	"watertight/gate"
)

// AdminListener is a socket on which the program can be watched.
type AdminListener struct {
	Listener
	ServerTLS
	Access
}

// Rules are what the listener asks of its clients.
func (l AdminListener) Rules() *gate.Rules { return rules(l.Access, l.ServerTLS) }

// exampleAdmin is where the admin port would listen.
const exampleAdmin = "127.0.0.1:9053"

// adminListener reads one address of the admin port, or a map with an address and what belongs to it.
func (l *loader) adminListener(n *node, path string) AdminListener {
	var one AdminListener
	if n.kind != kindMap {
		_, one.Address = l.socket(n, path)
		l.reachable(ProxyListener{Listener: one.Listener}, n.pos, path)
		return one
	}
	var files *keyFiles
	l.fields(n, "listen.admin", path, func(key string, n *node, path string) {
		switch key {
		case "address":
			_, one.Address = l.socket(n, path)
		case "tls":
			files = l.keyFiles(n, "listen.admin.tls", path)
		case "users":
			l.users(n, path, &one.Access)
		case "token_key":
			l.tokenKey(n, path, &one.Access)
		case "allow_insecure":
			l.truth(n, path, &one.AllowInsecure)
		}
	})
	if !l.stands(path + ".address") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `address`", path), "write `address: "+exampleAdmin+"`, or the address alone in place of the map")
	}
	if files != nil {
		one.ServerTLS = l.serverTLS(files, path+".tls")
	}
	l.tokenFor(one.Access, path)
	l.reachable(ProxyListener{Listener: one.Listener, ServerTLS: one.ServerTLS, Access: one.Access}, l.at(path+".address"), path+".address")
	return one
}

// adminListeners gives the tree of the listeners of the admin port.
func (c *Config) adminListeners() []any {
	var list []any
	for i, one := range c.Listen.Admin {
		at := fmt.Sprintf("listen.admin[%d]", i)
		address := c.text(at, c.text(at+".address", one.Address.String()))
		full := append(entries{{"address", address}}, c.guards(at, one.ServerTLS, one.Access)...)
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
