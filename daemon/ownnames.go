package daemon

import (
	"net/url"
	"slices"
	"strings"

	"watertight/config"
	"watertight/leaktest"
	"watertight/name"
)

// maxOwnNames bounds the names of the program's own that a test knows. What is asked in clear for another one is seen all the same.
const maxOwnNames = 256

// ownNames gives the names that a configuration gives the program reason to look up.
func ownNames(c *config.Config) (all []leaktest.OwnName) {
	add := func(host, of, cause string) {
		h, err := name.ParseHost(host)
		if err != nil {
			return
		}
		text, isName := h.Name()
		text = strings.ToLower(strings.TrimSuffix(text, "."))
		if isName && len(all) < maxOwnNames && !slices.ContainsFunc(all, func(n leaktest.OwnName) bool { return n.Host == text }) {
			all = append(all, leaktest.OwnName{Host: text, Of: of, Cause: cause})
		}
	}
	for _, ch := range c.Channels {
		for _, p := range ch.Proxies {
			add(p.Host.String(), "a hop of the channel "+ch.Name, "A5")
		}
		if ch.Pool != nil {
			for _, p := range ch.Pool.Spec.Members {
				add(p.Host.String(), "a member of the pool of the channel "+ch.Name, "A5")
			}
		}
		if ch.WireGuard != nil {
			for _, p := range ch.WireGuard.Tunnel.Peers {
				add(p.Endpoint.Host().String(), "a peer of the channel "+ch.Name, "A5")
			}
		}
		for _, u := range ch.Resolver.Upstreams {
			add(u.ServerName, "a resolver of the channel "+ch.Name, "A1")
			if u.Named.IsValid() {
				add(u.Named.Host().String(), "a resolver of the channel "+ch.Name, "A1")
			}
		}
	}
	for _, at := range []struct{ url, of string }{
		{c.LeakTest.Canary.API, "the canary's API"}, {c.LeakTest.Webhook.URL, "the webhook"}, {c.ACME.Directory, "the authority of certificates"},
	} {
		if u, err := url.Parse(at.url); err == nil && u.Host != "" {
			add(u.Hostname(), at.of, "E1")
		}
	}
	return all
}
