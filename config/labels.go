package config

import (
	"fmt"
	"slices"
	"strings"

	"watertight/client"
	"watertight/credential"
	"watertight/hop"
	"watertight/route"
)

// PerRequest is the word for `session` of a route that gives each connection a session of its own.
const PerRequest = "per_request"

// country reads where the exit of a route is to be.
func (l *loader) country(n *node, path string, set *route.Labels) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	code := strings.ToLower(t.value)
	if len(code) != 2 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz") != "" {
		l.problem(n.pos, fmt.Sprintf("`%s` is no country", l.say(path, t.value)), "write its two letters, such as de or us (ISO 3166-1)")
		return
	}
	set.Country = code
}

// session reads the session of a route.
func (l *loader) session(n *node, path string, set *route.Labels) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	if t.value == PerRequest {
		set.PerRequest = true
		return
	}
	id, err := client.Parse("user-session-" + t.value)
	if err != nil || id != (client.Identity{User: "user", Session: t.value}) {
		l.problem(n.pos, fmt.Sprintf("`%s` is no session", l.say(path, t.value)), fmt.Sprintf("write up to %d letters, digits and . _ ~, or %s", client.MaxValue, PerRequest))
		return
	}
	set.Session = t.value
}

// refusesLabels refuses labels of a route that refuses.
func (l *loader) refusesLabels(path string, set *route.Labels) {
	for _, key := range []string{"country", "session"} {
		if l.stands(path + "." + key) {
			l.problem(l.at(path+"."+key), fmt.Sprintf("`%s` means nothing in a route that refuses", key), "remove it, or name a channel")
		}
	}
	*set = route.Labels{}
}

// checkLabels refuses a country of a route that no proxy on its way would be told.
func (l *loader) checkLabels(c *Config) {
	for i, r := range c.Routes {
		if r.Labels.Country != "" && !c.tells(r.Channel, credential.Country) {
			l.problem(l.at(fmt.Sprintf("routes[%d].country", i)), fmt.Sprintf("`%s` has no proxy that is told a country, so the exit would be anywhere", r.Channel),
				"give its proxy a `template`, or write {country} in its user or password; or remove `country`")
		}
	}
}

// tells says whether a proxy of a channel, or of one underneath, is told a label. Under a tunnel, which all share, none is.
func (c *Config) tells(name, place string) bool {
	for name != "" {
		ch, _ := c.Channel(name)
		if ch.WireGuard != nil {
			return false
		}
		for _, p := range ch.Proxies {
			if p.Template.Has(place) {
				return true
			}
		}
		if ch.Pool != nil && !slices.ContainsFunc(ch.Pool.Spec.Members, func(p hop.Proxy) bool { return !p.Template.Has(place) }) {
			return true
		}
		name = ch.Over
	}
	return false
}
