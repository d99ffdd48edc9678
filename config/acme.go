package config

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"watertight/acme"
	"watertight/name"
)

// ACME is how certificates are obtained for listeners that name them. The zero ACME obtains none.
type ACME struct {
	// Directory is the URL of the authority's directory: https.
	Directory string
	// CAFile is where CAs was read from, who certify the directory. Nil: those whom the system trusts.
	CAFile string
	CAs    *x509.CertPool
	// Channel is the way to the directory.
	Channel string
	Email   string // where the authority may write; empty: nowhere
	// HTTP is where validations by http-01 are answered. Not valid: they are answered by TLS, at the listeners.
	HTTP netip.AddrPort
	// KeyID and MAC bind the account to an external one; empty: to none.
	KeyID string
	MAC   []byte
	// AcceptTerms is the user's word that the authority's terms of service are accepted.
	AcceptTerms bool
}

// IsZero says that no certificate is obtained.
func (a ACME) IsZero() bool { return a.Directory == "" }

// minMAC is how long the key of an external account is at least, in octets.
const minMAC = 16

// acmeNames reads the names of one certificate.
func (l *loader) acmeNames(n *node, path string) []string {
	var names []string
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		h, err := name.ParseHost(t.value)
		host, named := h.Name()
		switch {
		case strings.HasPrefix(t.value, "*"):
			l.problem(n.pos, fmt.Sprintf("`%s` is a wildcard, for which no validation at a listener is enough", l.say(path, t.value)), "list the names that clients use, or give a certificate in files")
		case err != nil:
			l.foreign(t, path, "a name", err, "write a name such as proxy.example.net")
		case !named || !strings.Contains(host, "."):
			l.problem(n.pos, fmt.Sprintf("`%s` is no name that an authority certifies", l.say(path, t.value)), "write a whole name such as proxy.example.net, or give a certificate in files")
		case slices.Contains(names, host):
			l.problem(n.pos, fmt.Sprintf("the name `%s` is written twice", l.say(path, t.value)), "keep one of the two")
		default:
			names = append(names, host)
		}
	})
	if !l.fewer(n.pos, path, len(names), acme.MaxNames) {
		names = names[:acme.MaxNames]
	}
	return names
}

// acme reads how certificates are obtained.
func (l *loader) acme(n *node, c *ACME) {
	c.Directory = acme.LetsEncrypt
	isMap := l.fields(n, "acme", "acme", func(key string, n *node, path string) {
		switch key {
		case "accept_terms":
			l.truth(n, path, &c.AcceptTerms)
			return
		case "eab":
			l.externalAccount(n, path, c)
			return
		}
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		switch key {
		case "directory":
			u, err := url.Parse(t.value)
			if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Host == "" || !isTarget(u) {
				l.problem(n.pos, fmt.Sprintf("`%s` is no https:// URL of a directory: `%s`", path, l.say(path, t.value)), "write https://HOST[:PORT]/PATH, as the authority gives it")
				return
			}
			c.Directory = t.value
		case "ca":
			c.CAFile = l.relative(t.value)
			var err error
			if c.CAs, err = l.authorities(t.value, c.CAFile); err != nil {
				l.problem(n.pos, "the authorities of the directory cannot be used: "+err.Error(), "give a PEM file with the certificates of those who certify the directory, and nothing else")
			}
		case "channel":
			c.Channel = t.value
		case "email":
			c.Email = t.value
			if local, host, ok := strings.Cut(t.value, "@"); !ok || local == "" || strings.ContainsAny(t.value, " \t\r\n,?&<>\"") || strings.Contains(host, "@") {
				l.problem(n.pos, fmt.Sprintf("`%s` is no address for mail", l.say(path, t.value)), "write one such as admin@example.net, or remove the key")
			}
		case "http":
			_, c.HTTP = l.socket(n, path)
		}
	})
	if !isMap {
		return
	}
	if !c.AcceptTerms {
		l.problem(n.pos, "the terms of service of the authority are not accepted", "read them, and write `accept_terms: true`")
	}
	if !l.stands("acme.channel") {
		l.problem(n.pos, "`acme` does not say by which channel the authority is reached", "write `channel: "+DirectName+"`, or another channel's name")
	}
}

// isTarget says whether a URL's host and port can be dialled.
func isTarget(u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	_, err := name.Parse(host + ":" + port)
	return err == nil
}

// externalAccount reads to which account of the authority's own the new one is bound (RFC 8555, section 7.3.4).
func (l *loader) externalAccount(n *node, path string, c *ACME) {
	isMap := l.fields(n, "acme.eab", path, func(key string, n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		switch key {
		case "kid":
			c.KeyID = t.value
		case "key":
			var err error
			if c.MAC, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(t.value, "=")); err != nil || len(c.MAC) < minMAC {
				c.MAC = nil
				l.problem(n.pos, fmt.Sprintf("`%s` is no key: it is not in base64url, or shorter than %d octets", path, minMAC), "write it as the authority gives it, as ${file:PATH} or ${env:NAME}")
			} else if !t.secret {
				l.problem(n.pos, fmt.Sprintf("`%s` is a secret, and stands in the file", path), "write it into a file of its own, and here ${file:PATH} or ${env:NAME}")
			}
		}
	})
	if isMap && (!l.stands(path+".kid") || !l.stands(path+".key")) {
		l.problem(n.pos, fmt.Sprintf("`%s` needs both `kid` and `key`", path), "write both, as the authority gives them")
	}
}

// checkACME looks at what `acme` and the listeners promise about each other. It says whether its channel exists.
func (l *loader) checkACME(c *Config, channels []string) bool {
	obtained, answered := "", false
	look := func(path string, t ServerTLS, answers bool) {
		if len(t.Names) > 0 {
			obtained, answered = path, answered || answers
		}
	}
	for i, one := range c.Listen.Proxy {
		look(fmt.Sprintf("listen.proxy[%d]", i), one.ServerTLS, true)
	}
	for i, one := range c.Listen.Admin {
		look(fmt.Sprintf("listen.admin[%d]", i), one.ServerTLS, true)
	}
	for i, one := range c.Listen.Gateway {
		look(fmt.Sprintf("listen.gateway[%d]", i), one.ServerTLS, true)
	}
	for i, one := range c.Listen.DNS { // clients that show no certificate are served in private networks alone
		look(fmt.Sprintf("listen.dns[%d]", i), one.ServerTLS, one.TCP() && one.ClientCAFile != "")
	}
	stands := l.stands("acme")
	switch {
	case !stands && obtained != "":
		l.problem(l.at(obtained+".tls.acme"), "nothing says which authority is asked for the certificate: `acme` is not written", "write `acme: {accept_terms: true, channel: "+DirectName+"}` at the root of the file, once you accept the terms of Let's Encrypt; or give `directory` too")
	case stands && obtained == "":
		l.problem(l.at("acme"), "`acme` would not be used: no listener has `acme: NAME` in its `tls`", "write it there, or remove the key")
	case stands && !answered && !l.stands("acme.http"):
		l.problem(l.at(obtained+".tls.acme"), "nobody could answer the authority, which connects to port 443 of the name: DNS over QUIC is not TCP, and the others of `listen.dns` turn strangers away unless they ask for certificates", "write `http: 0.0.0.0:80` in `acme`, or serve the name at `listen.proxy`, `listen.gateway` or `listen.admin` too")
	}
	if stands && c.State == NoState {
		l.problem(l.at("state"), "`state: none` keeps no certificate, and each start would ask the authority anew", "remove the key, or write a directory")
	}
	if c.ACME.Channel != "" && !slices.Contains(channels, c.ACME.Channel) {
		l.problem(l.at("acme.channel"), fmt.Sprintf("there is no channel `%s`", l.say("acme.channel", c.ACME.Channel)), orNearest(c.ACME.Channel, channels, ""))
		return false
	}
	return true
}

// acmeTree gives the tree of `acme`.
func (c *Config) acmeTree() entries {
	a := c.ACME
	all := entries{{"accept_terms", a.AcceptTerms}, {"channel", c.text("acme.channel", a.Channel)}, {"directory", c.text("acme.directory", a.Directory)}}
	for _, one := range [][2]string{{"ca", a.CAFile}, {"email", a.Email}} {
		if one[1] != "" {
			all = append(all, entry{one[0], c.text("acme."+one[0], one[1])})
		}
	}
	if a.HTTP.IsValid() {
		all = append(all, entry{"http", c.text("acme.http", a.HTTP.String())})
	}
	if a.KeyID != "" {
		all = append(all, entry{"eab", entries{{"kid", c.text("acme.eab.kid", a.KeyID)}, {"key", c.text("acme.eab.key", "***")}}})
	}
	return all
}
