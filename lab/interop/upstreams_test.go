package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/daemon"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// channelTo is how a real resolver is reached: straight, or through real hops, with what is said of it.
type channelTo struct {
	*upstream
	hops []hopKind
	pin  string // empty: none is said

	urls []string // of the hops
}

func (c *channelTo) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	if len(c.hops) == 0 {
		c.upstream.arrange(t, s)
		return
	}
	j := &journey{kinds: c.hops, resolve: exit}
	j.arrange(t, s) // permits the first hop, and the resolver of `direct`
	permitted, readers := s.Permitted, s.Readers
	c.upstream.arrange(t, s)
	s.Permitted, s.Readers = permitted, readers
	for _, h := range j.hops {
		c.urls = append(c.urls, h.url(false))
	}
}

func (c *channelTo) config(s *lab.Scene) string {
	pins := ""
	if c.pin != "" {
		pins = fmt.Sprintf(", pins: [%q]", c.pin)
	}
	section := fmt.Sprintf("resolver: {timeout: 3s, upstreams: [{url: %q, ca: %q%s}]}", c.url(c.host), s.CAFile, pins)
	if len(c.hops) == 0 {
		return "channels:\n  direct: {" + section + "}\n"
	}
	return lab.DirectConfig(s, s.Resolver.DoTURL()) + fmt.Sprintf("  far: {proxy: [%q], %s}\nroutes:\n  - {to: \"*\", channel: far}\n",
		strings.Join(c.urls, `", "`), section)
}

// eachWayToAnUpstream runs a test for every resolver over each transport, straight and through a hop of one kind or the
// other.
func eachWayToAnUpstream(t *testing.T, test func(t *testing.T, c *channelTo)) {
	t.Helper()
	for i, r := range resolvers() {
		for j, tr := range transports() {
			hop := []hopKind{microsocks(), squid()}[(i+j)%2]
			for _, hops := range [][]hopKind{nil, {hop}} {
				way := "direct"
				if hops != nil {
					way = hop.name
				}
				t.Run(r.name+"/"+tr.name+"/"+way, func(t *testing.T) {
					test(t, &channelTo{upstream: &upstream{resolver: r, transport: tr}, hops: hops})
				})
			}
		}
	}
}

// records are what the authority has beside the origin's addresses, each with the canary's label in its name.
func records(s *lab.Scene) []string {
	name := func(prefix string) string { return prefix + "-" + s.Canary + "." }
	all := []string{
		name("a") + " 60 A 151.216.9.1",
		name("aaaa") + " 60 AAAA 2a12:4940:0:9::1",
		name("alias") + " 60 CNAME " + name("second"),
		name("second") + " 60 CNAME " + name("third"),
		name("third") + " 60 CNAME " + name("a"),
		name("https") + " 60 HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=151.216.9.1 ech=AEX+DQBBpQAgACBz4sJvLGGYUrXDbRXJTzN2Fiu3vxiDVwy1h9GOJ5pB2wAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA= ipv6hint=2a12:4940:0:9::1",
		name("alias2") + " 60 HTTPS 0 " + name("https"),
		name("none") + " 60 TXT \"no address here\"",
	}
	for i := range 20 { // together more than any datagram that is sent unasked
		all = append(all, name("large")+fmt.Sprintf(" 60 TXT \"%02d %s\"", i, strings.Repeat("x", 200)))
	}
	return all
}

// resolved asks through a channel with `watertight resolve`, and gives the answer.
func resolved(t testing.TB, s *lab.Scene, host, kind string) daemon.Answer {
	t.Helper()
	r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "resolve", host, kind, "--json", "-c", s.Dir+"/watertight.yaml"))
	var got daemon.Resolution
	if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil || len(got.Answers) != 1 {
		t.Fatalf("%s %s: %v (%v, exit code %d): %s", host, kind, err, r.Err, r.Code, r.Text())
	}
	return got.Answers[0]
}

// checkRecords asks for every kind of answer, and wants each as the authority has it.
func checkRecords(t testing.TB, s *lab.Scene) {
	t.Helper()
	for _, text := range records(s) {
		must(t, s.Authority.Add(text))
	}
	data := func(owners ...string) (all []string) {
		for _, text := range records(s) {
			r := lab.Must(dnswire.ParseRecord(text))(t)
			if slices.Contains(owners, strings.TrimSuffix(r.Name, "-"+s.Canary)) {
				all = append(all, r.Text())
			}
		}
		return all
	}
	for _, c := range []struct {
		prefix, kind string
		want         []string
		code         string
	}{
		{"a", "A", data("a"), ""},
		{"aaaa", "AAAA", data("aaaa"), ""},
		{"alias", "A", data("alias", "second", "third", "a"), ""},
		{"https", "HTTPS", data("https"), ""},
		{"alias2", "HTTPS", data("alias2"), ""},
		{"large", "TXT", data("large"), ""},
		{"none", "A", nil, "DNS_NODATA"},
		{"nobody", "A", nil, "DNS_NXDOMAIN"},
	} {
		host := c.prefix + "-" + s.Canary
		if c.prefix == "nobody" {
			host = "nobody-" + s.Label + ".void.example.net"
		}
		answer := resolved(t, s, host, c.kind)
		var got []string
		for _, r := range answer.Records {
			got = append(got, r.Data)
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		code := ""
		if answer.Error != nil {
			code = string(answer.Error.Code)
		}
		if !slices.Equal(got, want) || code != c.code {
			t.Errorf("%s %s: got %q (%s), want %q (%s)", c.prefix, c.kind, got, code, want, c.code)
		}
	}
}

func TestUpstreams_GiveEveryRecordAsItIs_ToThoseWhoKnowTheirPin(t *testing.T) {
	t.Parallel()
	eachWayToAnUpstream(t, func(t *testing.T, c *channelTo) {
		lab.Cell{
			Families: internet.Dual, Client: lab.Curl,
			Arrange: func(t testing.TB, s *lab.Scene) {
				c.arrange(t, s)
				c.pin = s.CA.Pin()
			},
			Start: func(t testing.TB, s *lab.Scene) string {
				lab.StartWatertight(t, s, c.config(s))
				return lab.ProxyAddress
			},
			After: func(t testing.TB, s *lab.Scene) {
				checkRecords(t, s)
				c.pin = dnstest.NewCA().Pin()
				mistrusts(t, s, c, "RESOLVER_UNTRUSTED", "none of its keys is pinned")
				untrapped(t, s)
			},
		}.Run(t)
	})
}

// mistrusts wants the resolver to be refused with the configuration as it is now, and nothing to be asked.
func mistrusts(t testing.TB, s *lab.Scene, c *channelTo, code fault.Code, why string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.Dir, "watertight.yaml"), []byte(c.config(s)), 0o600))
	host := "mistrusted-" + s.Canary
	answer := resolved(t, s, host, "A")
	if answer.Error == nil || answer.Error.Code != code || !strings.Contains(answer.Error.Message, why) {
		t.Errorf("it was to be refused with %s, %q: %+v", code, why, answer.Error)
	}
	if log := s.Authority.LogOf(host); len(log) > 0 {
		t.Errorf("the name was asked for: %v", log)
	}
}

func TestUpstreams_ThatSpeakAnOlderTLSAreNotTrusted(t *testing.T) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			c := &channelTo{upstream: &upstream{resolver: resolver{"BIND with TLS 1.2", servers.OldBIND}, transport: tr}}
			lab.Cell{
				Families: internet.Dual, Client: lab.Curl, Refused: "NOT_READY", Arrange: c.arrange,
				Start: func(t testing.TB, s *lab.Scene) string {
					lab.LaunchWatertight(t, s, c.config(s))
					return lab.ProxyAddress
				},
				After: func(t testing.TB, s *lab.Scene) {
					if tr.name == "dot" { // where it says no more, nobody can tell why
						mistrusts(t, s, c, "RESOLVER_UNREACHABLE", "closed the connection during the TLS handshake")
					} else {
						mistrusts(t, s, c, "RESOLVER_UNTRUSTED", "TLS")
					}
					untrapped(t, s)
				},
			}.Run(t)
		})
	}
}
