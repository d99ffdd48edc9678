package guard

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

// full are rules with something in every place.
var full = Rules{
	Mark:    0x1234,
	Allow:   prefixes("192.168.0.0/16", "10.0.0.1/32", "fd00::/8", "192.168.0.0/16"),
	Uplinks: []string{"wlan0", "eth0", "ppp-home.1"},
	Kept: []Flow{
		{netip.MustParseAddrPort("192.168.1.2:22"), netip.MustParseAddrPort("192.168.1.9:40000")},
		{netip.MustParseAddrPort("[fd00::2]:22"), netip.MustParseAddrPort("[fd00::9]:40001")},
		{netip.MustParseAddrPort("[fe80::2%eth0]:22"), netip.MustParseAddrPort("[fe80::9%eth0]:40002")},
	},
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestTheTextIsTheOneThatWasReviewed(t *testing.T) {
	for file, r := range map[string]Rules{"testdata/full.nft": full, "testdata/bare.nft": {Mark: 119}} {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Text(); got != string(want) {
			t.Errorf("%s is another text now; look at every line that differs, and take it over if it is right:\n%s", file, got)
		}
	}
}

func TestWhatCannotBeLoadedOrWouldNotHoldIsRefused(t *testing.T) {
	flow := func(a, b string) []Flow { return []Flow{{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}} }
	for want, r := range map[string]Rules{
		"the mark is 0":                                 {},
		"has the bit 0x40000000":                        {Mark: 119 | passed},
		"networks are allowed, and at most":             {Mark: 1, Allow: make([]netip.Prefix, maxAllow+1)},
		"devices lead out of this host, and at most":    {Mark: 1, Uplinks: make([]string, maxUplinks+1)},
		"connections are to go on, and at most":         {Mark: 1, Kept: make([]Flow, maxKept+1)},
		"is not a network":                              {Mark: 1, Allow: make([]netip.Prefix, 1)},
		`"::ffff:1.2.3.4/128" is not a network`:         {Mark: 1, Allow: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.4"), 128)}},
		`the device "a\"; }"`:                           {Mark: 1, Uplinks: []string{`a"; }`}},
		`the device "eth*"`:                             {Mark: 1, Uplinks: []string{"eth*"}},
		`the device ""`:                                 {Mark: 1, Uplinks: []string{""}},
		`the device "a b"`:                              {Mark: 1, Uplinks: []string{"a b"}},
		`the device "é"`:                                {Mark: 1, Uplinks: []string{"é"}},
		`the device "sixteen-is-much2"`:                 {Mark: 1, Uplinks: []string{"sixteen-is-much2"}},
		"1.2.3.4:5 to [::1]:6 is not a connection":      {Mark: 1, Kept: flow("1.2.3.4:5", "[::1]:6")},
		"invalid AddrPort to invalid AddrPort is not a": {Mark: 1, Kept: make([]Flow, 1)},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, and not %q", err, want)
		}
	}
}
