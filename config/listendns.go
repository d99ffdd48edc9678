package config

import "fmt"

// maxTold bounds what the DNS door tells of itself: one string of a TXT record (RFC 1035, section 3.3.14).
const maxTold = 255

// silentDNS is the warning that nobody can ask for what `dns` says.
const silentDNS = "`dns` says what the DNS door tells of itself, and there is none: `listen.dns` is not written"

// dns reads what the DNS door tells of itself.
func (l *loader) dns(n *node, c *DNS) {
	l.fields(n, "dns", "dns", func(key string, n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		if len(t.value) > maxTold {
			l.problem(n.pos, fmt.Sprintf("`%s` has %d octets, and an answer holds %d", path, len(t.value), maxTold), "write a shorter text")
			return
		}
		switch key {
		case "id_server":
			c.IDServer = t.value
		case "version_bind":
			c.VersionBind = t.value
		}
	})
}

// checkTold warns of a text that nobody can ask for.
func (l *loader) checkTold(c *Config) {
	if c.DNS != (DNS{}) && len(c.Listen.DNS) == 0 {
		l.warn(l.at("dns"), silentDNS, "write `listen: {dns: 127.0.0.1:5353}`, give --dns, or remove it")
	}
}
