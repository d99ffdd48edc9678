package config

import (
	"fmt"
	"net/textproto"
	"strings"

	"watertight/route"
)

// gatewayListeners gives each listener, as the address alone where there is no more to say.
func (c *Config) gatewayListeners() []any {
	var list []any
	for i, one := range c.Listen.Gateway {
		at := fmt.Sprintf("listen.gateway[%d]", i)
		full := append(entries{{"address", c.text(at, c.text(at+".address", one.Address.String()))}}, c.guards(at, one.ServerTLS, one.Access)...)
		for _, names := range []struct {
			key  string
			list []string
		}{{"hosts", one.Hosts}, {"origins", one.Origins}} {
			if len(names.list) > 0 {
				full = append(full, entry{names.key, texts(names.list, func(i int, v string) string { return c.text(fmt.Sprintf("%s.%s[%d]", at, names.key, i), v) })})
			}
		}
		if one.AllowInsecure {
			full = append(full, entry{"allow_insecure", true})
		}
		if len(full) == 1 {
			list = append(list, full[0].value)
			continue
		}
		list = append(list, full)
	}
	return list
}

func (c *Config) gatewayTree() []any {
	var list []any
	for i, g := range c.Gateway {
		at := fmt.Sprintf("gateway[%d]", i)
		var t entries
		say := func(key, value string) {
			if value != "" {
				t = append(t, entry{key, c.text(at+"."+key, value)})
			}
		}
		say("path", g.Path)
		if g.To.IsValid() {
			say("to", g.URL())
		}
		if len(g.Hosts) > 0 {
			t = append(t, entry{"hosts", texts(g.Hosts, func(i int, p route.Pattern) string { return c.text(fmt.Sprintf("%s.hosts[%d]", at, i), p.String()) })})
		}
		say("channel", g.Channel)
		say("user", g.User.String())
		var fields entries
		for _, h := range g.Headers {
			fields = append(fields, entry{h.Name, c.fieldShown(at+".headers", h.Name)})
		}
		if len(fields) > 0 {
			t = append(t, entry{"headers", fields})
		}
		if g.NoHTTP3 {
			t = append(t, entry{"http3", HTTP3Off})
		}
		say("ca", g.CAFile)
		list = append(list, t)
	}
	return list
}

// URL is the origin as it is written.
func (g Gateway) URL() string {
	return "https://" + strings.TrimSuffix(g.To.String(), ":443") + g.ToPath
}

// fieldShown is the value of a field as Show prints it: its references, and of the rest no more than the word for the kind of
// credentials before them, such as Bearer.
func (c *Config) fieldShown(at, field string) string {
	written := ""
	for path, w := range c.written {
		if key, ok := strings.CutPrefix(path, at+"."); ok && textproto.CanonicalMIMEHeaderKey(key) == field {
			written = w
		} else if key, ok := strings.CutPrefix(path, single(at)+"."); ok && textproto.CanonicalMIMEHeaderKey(key) == field {
			written = w
		}
	}
	const hidden = "***"
	before, rest, found := strings.Cut(written, "${")
	if !found {
		return hidden
	}
	var b strings.Builder
	switch word, blank := strings.CutSuffix(before, " "); {
	case before == "" || blank && len(word) <= 16 && isToken(word):
		b.WriteString(before)
	default:
		b.WriteString(hidden)
	}
	for found {
		ref, after, _ := strings.Cut(rest, "}")
		b.WriteString("${" + ref + "}")
		before, rest, found = strings.Cut(after, "${")
		if before != "" {
			b.WriteString(hidden)
		}
	}
	return b.String()
}
