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
	one := l.guarded(n, "listen.admin", path, exampleAdmin, func(*ProxyListener, string, *node, string) {})
	return AdminListener{Listener: one.Listener, ServerTLS: one.ServerTLS, Access: one.Access}
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
