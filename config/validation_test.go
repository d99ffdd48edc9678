package config

import (
	"slices"
	"strings"
	"testing"

	"watertight/resolve"
)

const ksk2024 = ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"

func TestDNSSEC_IsReadWithItsAnchors(t *testing.T) {
	c := good(t, `
channels:
  direct:
    resolver:
      dnssec: validate
      trust_anchors: "`+ksk2024+`"
      negative_anchors: [Corp.Example., .lab.example]
`)
	d := c.Channels[0].Resolver.DNSSEC
	if d.Mode != resolve.Validate || !slices.Equal(d.NegativeAnchors, []string{"corp.example", "lab.example"}) || len(d.Anchors) != 1 || d.Anchors[0].String() != ksk2024 {
		t.Errorf("%+v", d)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dnssec: validate\n", `- "` + ksk2024 + `"`, "- Corp.Example.\n"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("%s is not shown:\n%s", want, shown)
		}
	}
}

func TestDNSSEC_IsOffUnlessWritten(t *testing.T) {
	for text, want := range map[string]resolve.Mode{
		"":                           resolve.Off,
		"dnssec: off":                resolve.Off,
		`dnssec: "off"`:              resolve.Off,
		"dnssec: validate":           resolve.Validate,
		"dnssec: require-secure":     resolve.RequireSecure,
		"dnssec: ${env:DNSSEC_MODE}": resolve.RequireSecure,
	} {
		c, err := Parse("f", []byte("channels: {direct: {resolver: {timeout: 2s, "+quoteReference(text)+"}}}"), testHost(map[string]string{"DNSSEC_MODE": "require-secure"}, nil))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Channels[0].Resolver.DNSSEC.Mode; got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// quoteReference puts a value with a reference into the quotes that it needs in a map on one line.
func quoteReference(text string) string {
	key, value, ok := strings.Cut(text, ": ")
	if !ok || !strings.HasPrefix(value, "$") {
		return text
	}
	return key + `: "` + value + `"`
}

func TestDNSSEC_OfDirectIsThatOfVia(t *testing.T) {
	c, err := good(t, "channels: {direct: {resolver: {dnssec: validate, negative_anchors: corp.example}}}").Override(Overrides{
		Resolver: []string{"tls://9.9.9.9"}, Via: []string{"socks5://192.0.2.1:1080"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range c.Channels {
		if d := ch.Resolver.DNSSEC; d.Mode != resolve.Validate || len(d.NegativeAnchors) != 1 {
			t.Errorf("%s: %+v", ch.Name, d)
		}
	}
}

func TestDNSSEC_TakesSoManyAnchorsAndNoMore(t *testing.T) {
	for key, most := range map[string]int{"trust_anchors": maxTrustAnchors, "negative_anchors": maxNegativeAnchors} {
		entry := `"` + ksk2024 + `", `
		if key == "negative_anchors" {
			entry = "corp.example, "
		}
		text := func(n int) string {
			return "channels: {direct: {resolver: {dnssec: validate, " + key + ": [" + strings.TrimSuffix(strings.Repeat(entry, n), ", ") + "]}}}"
		}
		good(t, text(most))
		if err := bad(t, text(most+1)); !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestState_IsADirectoryOrNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "state: none": "none", "state: /var/lib/w": "/var/lib/w", "state: /var/lib/../lib/w": "/var/lib/w", `state: "${env:PLACE}/w"`: "/place/w",
	} {
		c, err := Parse("/etc/w/f.yaml", []byte(text), testHost(map[string]string{"PLACE": "/place"}, nil))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c.State != want {
			t.Errorf("%s: %q", text, c.State)
		}
	}
	c, err := Parse("/etc/w/f.yaml", []byte("state: kept/here"), testHost(nil, nil))
	if err != nil || c.State != "/etc/w/kept/here" {
		t.Errorf("%+v, %v", c, err)
	}
	shown, err := c.Show()
	if err != nil || !strings.Contains(string(shown), "\nstate: /etc/w/kept/here\n") {
		t.Errorf("%s, %v", shown, err)
	}
	for _, text := range []string{`state: ""`, `state: "~/state"`, `state: "a\0b"`, "state: [a]", "state: {dir: a}"} {
		bad(t, text)
	}
}
