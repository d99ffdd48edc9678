package upstream_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"watertight/lab/dnstest"
	"watertight/upstream"
)

// vector is the list of RFC 9848, section 3: one configuration whose public name is ech-sites.example.net.
const vector = "AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA="

func TestTheECHConfigListOfASpecIsInTheUpstream(t *testing.T) {
	want, err := base64.StdEncoding.DecodeString(vector)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"https://192.0.2.1", "h3://192.0.2.1", "tls://192.0.2.1", "quic://192.0.2.1", "quad9", "sdns://AwAAAAAAAAAACTE5Mi4wLjIuNwAPZG5zLmV4YW1wbGUubmV0"} {
		if u := build(t, upstream.Spec{URL: url, ECH: vector}); string(u.ECH) != string(want) {
			t.Errorf("%s: %x", url, u.ECH)
		}
	}
	if u := build(t, upstream.Spec{URL: "quad9"}); u.ECH != nil {
		t.Errorf("without one there is %x", u.ECH)
	}
}

func TestAnECHConfigListThatCannotBeUsedIsRefused(t *testing.T) {
	good, err := base64.StdEncoding.DecodeString(vector)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, b byte) []byte {
		c := append([]byte(nil), good...)
		c[at] = b
		return c
	}
	for name, c := range map[string]struct {
		list []byte
		part string
	}{
		"of another version":   {changed(3, 0x0a), "no configuration"},
		"of an unknown KEM":    {changed(8, 0x77), "no configuration"},
		"cut off":              {good[:len(good)-1], "no configuration"},
		"with octets after it": {append(changed(0, 0), 0), "no configuration"},
		"of no configuration":  {[]byte{0, 0}, "no configuration"},
		"too long":             {make([]byte, upstream.MaxECH+1), "longer than 8192 octets"},
		"of nothing":           {[]byte{}, "empty"},
	} {
		if err := upstream.CheckECH(c.list); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("a list %s: %v", name, err)
		}
		if len(c.list) == 0 {
			continue // as a text it would be a spec without one
		}
		_, err := upstream.Spec{URL: "quad9", ECH: base64.StdEncoding.EncodeToString(c.list)}.Build()
		var spec *upstream.SpecError
		if !errors.As(err, &spec) || spec.Field != "ech" || !strings.Contains(err.Error(), c.part) {
			t.Errorf("a spec with a list %s: %v", name, err)
		}
	}
	for _, name := range []string{"192.0.2.1", "dns.0x7f", "dns.example.1"} {
		if err := upstream.CheckECH(dnstest.NewECH(name, 1).List()); err == nil || !strings.Contains(err.Error(), "taken for an address") {
			t.Errorf("a list with the public name %s: %v", name, err)
		}
	}
	if _, err := (upstream.Spec{URL: "quad9", ECH: "ech=" + vector}).Build(); err == nil || !strings.Contains(err.Error(), "not base64") {
		t.Errorf("a spec with a list that is not base64: %v", err)
	}
}

func TestAResolverOfDNSCryptHasNoECH(t *testing.T) {
	const stamp = "sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0"
	if _, err := (upstream.Spec{URL: stamp, ECH: vector}).Build(); err == nil || !strings.Contains(err.Error(), "leave `ech` out") {
		t.Error(err)
	}
}
