package guard

import (
	"fmt"
	"strings"
	"testing"
)

const (
	inetListing = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "watertight_guard", "handle": 2}},
{"counter": {"family": "inet", "name": "dns", "table": "watertight_guard", "handle": 5, "packets": 7, "bytes": 70}},
{"set": {"family": "inet", "name": "uplinks", "table": "watertight_guard", "type": "ifname", "handle": 7, "elem": ["eth0"]}},
{"set": {"family": "inet", "name": "allow4", "table": "watertight_guard", "type": "ipv4_addr", "handle": 8, "flags": ["interval"], "elem": ["10.0.0.1", {"prefix": {"addr": "192.168.0.0", "len": 16}}]}},
{"chain": {"family": "inet", "table": "watertight_guard", "name": "output", "handle": 4, "type": "filter", "hook": "output", "prio": 10, "policy": "drop"}},
{"rule": {"family": "inet", "table": "watertight_guard", "chain": "output", "handle": 20, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 119}}, {"accept": null}]}}]}`
	netdevListing = `{"nftables": [{"table": {"family": "netdev", "name": "watertight_guard", "handle": 4}},
{"counter": {"family": "netdev", "name": "raw", "table": "watertight_guard", "handle": 2, "packets": 3, "bytes": 0}},
{"chain": {"family": "netdev", "table": "watertight_guard", "name": "frames", "handle": 1}},
{"chain": {"family": "netdev", "table": "watertight_guard", "name": "egress", "handle": 9, "type": "filter", "hook": "egress", "prio": 0, "policy": "drop"}},
{"rule": {"family": "netdev", "table": "watertight_guard", "chain": "frames", "handle": 3, "expr": [{"counter": "raw"}, {"drop": null}]}},
{"rule": {"family": "netdev", "table": "watertight_guard", "chain": "egress", "handle": 4, "expr": [{"goto": {"target": "frames"}}]}}]}`
)

func read(t *testing.T, listings ...string) found {
	t.Helper()
	var all [][]byte
	for _, l := range listings {
		all = append(all, []byte(l))
	}
	f, err := parse(all...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatIsListedIsKnownAgainAndWhatChangesByItselfDoesNotMatter(t *testing.T) {
	f := read(t, inetListing, netdevListing)
	if f.lacks() != "" || f.counters != (Counters{DNS: 7, Raw: 3}) {
		t.Errorf("%+v", f)
	}
	for from, to := range map[string]string{
		`"handle": 20`: `"handle": 21`, `"packets": 7, "bytes": 70`: `"packets": 8, "bytes": 80`, `"elem": ["eth0"]`: `"elem": ["wlan0", "eth0"]`,
		`"1.0.6"`: `"1.1.0"`, `["10.0.0.1", {"prefix": {"addr": "192.168.0.0", "len": 16}}]`: `[{"prefix": {"addr": "192.168.0.0", "len": 16}}, "10.0.0.1"]`,
		`"family": "inet", "name": "dns"`: `"name": "dns", "family": "inet"`, `"handle": 9`: `"handle": 10`,
	} {
		if g := read(t, changed(t, from, to)...); g.digest != f.digest || g.lacks() != "" {
			t.Errorf("%s in place of %s is taken for a change: %s", to, from, g.lacks())
		}
	}
}

func changed(t *testing.T, from, to string) []string {
	t.Helper()
	out := []string{strings.Replace(inetListing, from, to, 1), strings.Replace(netdevListing, from, to, 1)}
	if out[0] == inetListing && out[1] == netdevListing {
		t.Fatalf("nothing has %q", from)
	}
	return out
}

func TestEveryOtherChangeIsSeen(t *testing.T) {
	f := read(t, inetListing, netdevListing)
	for from, to := range map[string]string{
		`"policy": "drop"}},` + "\n" + `{"rule": {"family": "inet"`: `"policy": "accept"}},` + "\n" + `{"rule": {"family": "inet"`,
		`"right": 119`: `"right": 120`, `{"accept": null}`: `{"drop": null}`, `["10.0.0.1", `: `["10.0.0.1", "10.0.0.2", `, `"prio": 10`: `"prio": -400`,
		`[{"counter": "raw"}, {"drop": null}]`: `[{"counter": "raw"}]`,
		`"name": "output", "handle": 4`:        `"name": "output", "handle": 4, "dev": "eth0"`,
		`"prio": 0, "policy": "drop"`:          `"prio": 0, "policy": "accept"`,
		`"hook": "egress"`:                     `"hook": "ingress"`,
		`[{"goto": {"target": "frames"}}]`:     `[{"accept": null}]`,
		`{"rule": {"family": "netdev", "table": "watertight_guard", "chain": "egress"`: `{"rule": {"family": "netdev", "table": "watertight_guard", "chain": "egress", "expr": [{"accept": null}]}}, {"rule": {"family": "netdev", "table": "watertight_guard", "chain": "egress"`,
	} {
		if g := read(t, changed(t, from, to)...); g.digest == f.digest && g.lacks() == "" {
			t.Errorf("%s in place of %s is not seen", to, from)
		}
	}
	for want, listings := range map[string][]string{"table inet watertight_guard is gone": {netdevListing}, "table netdev watertight_guard is gone": {inetListing}, "are gone": {}} {
		if lacks := read(t, listings...).lacks(); !strings.Contains(lacks, want) {
			t.Errorf("it says %q, and not %q", lacks, want)
		}
	}
}

func TestWhatNftTellsHasLimits(t *testing.T) {
	many := `{"nftables": [` + strings.Repeat(`{},`, maxObjects) + `{}]}`
	for text, want := range map[string]string{many: "at most", `{`: "cannot be read", `{"nftables": [{"rule": []}]}`: "cannot be read", `{"nftables": [{"chain": {"prio": "x"}}]}`: "cannot be read"} {
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(inetListing))
	f.Add([]byte(netdevListing))
	f.Add([]byte(`{"nftables": [{"set": {"elem": [{"a": [1, 2.5e300, null]}, true]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := parse(b)
		if err != nil {
			return
		}
		if again, err := parse(b); err != nil || fmt.Sprint(again) != fmt.Sprint(one) {
			t.Errorf("read again it is %+v (%v), and not %+v", again, err, one)
		}
	})
}
