package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestGuard_IsReadWithItsNetworks(t *testing.T) {
	p := netip.MustParsePrefix
	for text, want := range map[string]*Guard{
		"":                                 nil,
		"guard: {}\n":                      {},
		"guard: {allow: 192.168.0.0/16}\n": {Allow: []netip.Prefix{p("192.168.0.0/16")}},
		"guard: {allow: [192.168.1.1, \"fe80::/10\", 10.0.0.0/8]}\n": {Allow: []netip.Prefix{p("192.168.1.1/32"), p("fe80::/10"), p("10.0.0.0/8")}},
	} {
		c := good(t, text)
		if !reflect.DeepEqual(c.Guard, want) {
			t.Errorf("%q: %+v", text, c.Guard)
		}
		if len(c.Warnings) != 0 {
			t.Errorf("%q: %v", text, c.Warnings)
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if again := good(t, string(shown)); !reflect.DeepEqual(again.Guard, want) {
			t.Errorf("%q: what is shown is read as %+v:\n%s", text, again.Guard, shown)
		}
		asJSON, err := c.ShowJSON()
		if err != nil || strings.Contains(string(asJSON), `"guard"`) != (want != nil) {
			t.Errorf("%q: %v: %s", text, err, asJSON)
		}
	}
}

// What is let through that is not of one's own networks is told.
func TestGuard_APublicNetworkIsWarnedOf(t *testing.T) {
	for network, want := range map[string]int{"203.0.113.7": 1, "2001:db8::/32": 1, "172.16.0.0/12": 0, "172.0.0.0/8": 1, "127.0.0.0/8": 0} {
		if got := good(t, fmt.Sprintf("guard: {allow: %q}\n", network)).Warnings; len(got) != want {
			t.Errorf("%s: %v", network, got)
		}
	}
}

func TestGuard_NoListIsEverything(t *testing.T) {
	var many []string
	for i := range maxAllowed + 1 {
		many = append(many, fmt.Sprintf("%d.0.0.0/8", i+20))
	}
	text := func(n int) string { return "guard: {allow: [" + strings.Join(many[:n], ", ") + "]}\n" }
	good(t, text(maxAllowed))
	if _, err := Parse("test.yaml", []byte(text(maxAllowed+1)), testHost(nil, nil)); err == nil || !strings.Contains(err.Error(), "at most 64 are taken") {
		t.Error(err)
	}
	for _, network := range []string{"0.0.0.0/0", "128.0.0.0/1", "8.0.0.0/7", "10.0.0.0/7", "2000::/3", "fc00::/6", "::/0", "::/1", "::/8", "2002::/16", "64:ff9b::/96", "64:ff9b::/32"} {
		if _, err := Parse("test.yaml", []byte(fmt.Sprintf("guard: {allow: %q}\n", network)), testHost(nil, nil)); err == nil {
			t.Errorf("%s is taken", network)
		}
	}
}

func TestMark_IsThatOfTheTransparentDoorElseTheGuards(t *testing.T) {
	for text, want := range map[string]uint32{
		"":            0,
		"guard: {}\n": GuardMark,
		"listen: {transparent: 127.0.0.1:8081}\n":                                    0,
		"listen: {transparent: {address: \"127.0.0.1:8081\", mark: 7}}\n":            7,
		"listen: {transparent: {address: \"127.0.0.1:8081\", mark: 7}}\nguard: {}\n": 7,
		"listen: {transparent: {address: \"127.0.0.1:8081\"}}\nguard: {}\n":          GuardMark,
	} {
		if got := good(t, text).Mark(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	c := good(t, "listen: {transparent: {address: \"127.0.0.1:8081\", mark: 7}}\nguard: {}\n")
	c.Listen.Transparent = nil // as where the configuration is tried on other ports
	if got := c.Mark(); got != 7 {
		t.Errorf("without its listener it is %d", got)
	}
}

func TestReadGuard_ReadsTheRestOfTheFileNot(t *testing.T) {
	host := func(text string) Host {
		return testHost(nil, map[string]string{"/etc/watertight/watertight.yaml": text})
	}
	read := func(text string) (*Config, error) { return ReadGuard("/etc/watertight/watertight.yaml", host(text)) }
	c, err := read("listen:\n  proxy: {address: 127.0.0.1:1, tls: {cert: gone.pem, key: gone.pem}}\n  transparent: {address: 127.0.0.1:8081, mark: 7}\nchannels: {a: {proxy: \"http://u:${file:gone}@192.0.2.1:1\"}}\nguard: {allow: 10.0.0.0/8}\nnonsense: 1\n")
	if err != nil || c.Mark() != 7 || len(c.Guard.Allow) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := read("channels: {}\n"); err != nil || c.Guard != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"guard: {allow: 0.0.0.0/0}\n": "watertight.yaml:1:16: `guard.allow`: 0.0.0.0/0 is everything",
		"guard: {alow: 10.0.0.0/8}\n": "did you mean `allow`",
		"guard:\n":                    "has no value",
		"guard: {}\nguard: {}\n":      "written twice",
		"guard: {}\nlisten: {transparent: {address: 127.0.0.1:8081, mark: x}}\n": "`listen.transparent.mark` is not a whole number",
		"guard: [\n":     "",
		"- guard\n":      "not a map",
		"guard: 1\n":     "not a map of keys",
		"guard: &a {}\n": "anchor",
	} {
		if c, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if _, err := ReadGuard("/gone.yaml", host("")); err == nil {
		t.Error("a file that is not there is read")
	}
}
