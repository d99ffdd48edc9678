package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"watertight/client"
	"watertight/config"
	"watertight/fault"
	"watertight/name"
)

const manyHops = `
channels:
  near:
    proxy: {pool: ["h2://one.example", "https://two.example", "http://192.0.2.9:1"], sticky: session}
    resolver: {upstreams: [quad9]}
  res:
    over: near
    proxy:
      - {url: "http://acme:hunter2@gw.provider.example:1", template: oxylabs}
      - socks5://192.0.2.3
    resolve: exit
  top: {over: res, proxy: "socks5://x-{user}:hunter2@top.example", resolver: {upstreams: ["tls://9.9.9.9"]}}
routes:
  - {to: only.example, user: vip, channel: near}
  - {to: "*", user: vip, channel: top}
  - {to: once.example, channel: res, session: per_request}
  - {to: "*", channel: res, country: de}
`

func explainedFor(t *testing.T, who, to string) *Explanation {
	t.Helper()
	c, err := config.Parse("f", []byte(manyHops), config.ThisHost())
	if err != nil {
		t.Fatal(err)
	}
	id, err := client.Parse(who)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ExplainFor(c, name.Must(to), false, id)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprintf("%+v", e), "hunter2") {
		t.Error("it tells a password")
	}
	return e
}

func TestExplain_TellsOfEachHopWhatItIsAskedForAndTold(t *testing.T) {
	e := explainedFor(t, "alice-session-7", "api.example.com:443")
	if e.Identity == nil || *e.Identity != (Asker{User: "alice", Session: "7", Country: "de"}) || len(e.Path) != 3 {
		t.Fatalf("%+v", e)
	}
	pool, gw, last := e.Path[0], e.Path[1], e.Path[2]
	if !pool.YourAddress || pool.FoundBy != foundByResolver || pool.FoundIn != "direct" || pool.Encrypted || pool.Next != "gw.provider.example:1" || pool.NextAs != asAddress || len(pool.Told) != 0 || pool.Sticks != "to the session, for 10m0s" {
		t.Errorf("%+v", pool)
	}
	if gw.YourAddress || gw.From != pool.Hop || gw.FoundIn != "near" || !slices.Equal(gw.Told, []string{"session 7", "country de"}) || gw.Next != "192.0.2.3:1080" {
		t.Errorf("%+v", gw)
	}
	if last.FoundBy != foundByAddress || last.Next != "api.example.com:443" || last.NextAs != asName || !slices.Contains(last.SeesName, inRequest) || len(last.Told) != 0 {
		t.Errorf("%+v", last)
	}
	// Each member's name shows to the network, of those over TLS in the handshake; by one of the members all can be read.
	network := e.sight(t, placeNetwork, "")
	if !slices.Equal(network.HopNames, []string{"one.example", "two.example"}) || !slices.Contains(network.TargetName, inRequest) {
		t.Errorf("%+v", network)
	}
}

func TestExplain_GoesByTheUserOfTheClient(t *testing.T) {
	if e := explainedFor(t, "", "api.example.com:443"); e.Channel != "res" || e.Identity == nil || e.Identity.User != "" || e.Path[0].Sticks != "to nothing: the client has no session" {
		t.Errorf("%+v", e)
	}
	if e := explainedFor(t, "bob", "once.example:443"); e.Identity.Session != config.PerRequest || !slices.Equal(e.Path[1].Told, []string{"a session that is made"}) {
		t.Errorf("%+v", e.Path)
	}
	e := explainedFor(t, "vip", "api.example.com:443")
	if top := e.Path[len(e.Path)-1]; e.Channel != "top" || top.FoundBy != foundByExit || top.FoundIn != "res" || e.Path[2].NextAs != asName || !slices.Equal(top.Told, []string{"user vip"}) {
		t.Errorf("%+v", e)
	}
	if e := explainedFor(t, "vip-city-rome", "only.example:443"); e.Refusal == nil || e.Refusal.Code != fault.BadRequest {
		t.Errorf("no proxy is told of the city, and it is %s", e.Verdict)
	}
	for who, want := range map[string]fault.Code{"alice-country-us": fault.PolicyRoute, "vip-ttl-soon": fault.BadRequest} {
		if e := explainedFor(t, who, "api.example.com:443"); e.Refusal == nil || e.Refusal.Code != want || len(e.Path) != 0 {
			t.Errorf("%s: %+v", who, e.Refusal)
		}
	}
}
