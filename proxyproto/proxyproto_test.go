package proxyproto

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

const (
	four = signature + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\xc6\x33\x64\x01" + "\x10\x92\x01\xbb"
	six  = signature + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x10\x92\x01\xbb"
)

func TestAHeaderSaysForWhomAConnectionIs(t *testing.T) {
	for text, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 198.51.100.1 4242 443\r\n":       "192.0.2.1:4242 198.51.100.1:443",
		"PROXY TCP6 2001:db8::1 2001:db8::2 4242 443\r\n":      "[2001:db8::1]:4242 [2001:db8::2]:443",
		"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4242 443\r\n": "192.0.2.1:4242 [2001:db8::2]:443",
		"PROXY UNKNOWN\r\n":                          "",
		"PROXY UNKNOWN ffff:f... anything 65535\r\n": "",
		four: "192.0.2.1:4242 198.51.100.1:443",
		six:  "[2001:db8::1]:4242 [2001:db8::2]:443",
		signature + "\x21\x11\x00\x0f" + four[16:] + "\x04\x00\x00": "192.0.2.1:4242 198.51.100.1:443",
		signature + "\x20\x00\x00\x00":                              "",
		signature + "\x20\x11\x00\x0c" + four[16:]:                  "",
		signature + "\x21\x00\x00\x03abc":                           "",
	} {
		for n := range len(text) {
			if _, _, err := Parse([]byte(text[:n])); !errors.Is(err, ErrShort) {
				t.Errorf("%q cut after %d: %v", text, n, err)
			}
		}
		h, n, err := Parse([]byte(text + "PROXY GET"))
		got := ""
		if h.Source.IsValid() {
			got = h.Source.String() + " " + h.Destination.String()
		}
		if got != want || n != len(text) || err != nil {
			t.Errorf("%q: %q, %d, %v", text, got, n, err)
		}
	}
}

func TestWhatIsNoHeaderIsNotTakenForOne(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", "\x05\x01\x00", "\x16\x03\x01", "PROXZ ", "\r\n\r\n\x00\r\nQUIT\r",
		"PROXY TCP4 192.0.2.1 198.51.100.1 4242\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 4242 443 1\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.1 04242 443\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 4242 65536\r\n",
		"PROXY TCP4 192.0.2.1  198.51.100.1 4242 443\r\n", "PROXY TCP4 2001:db8::1 198.51.100.1 4242 443\r\n",
		"PROXY TCP6 192.0.2.1 198.51.100.1 4242 443\r\n", "PROXY TCP6 fe80::1%eth0 2001:db8::2 4242 443\r\n",
		"PROXY TCP4 host.example 198.51.100.1 4242 443\r\n", "PROXY UDP4 192.0.2.1 198.51.100.1 4242 443\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", maxLine),
		signature + "\x11\x11\x00\x0c" + four[16:], signature + "\x22\x11\x00\x0c" + four[16:],
		signature + "\x21\x12\x00\x0c" + four[16:], signature + "\x21\x31\x00\x0c" + four[16:],
		signature + "\x21\x11\x00\x0b" + four[16:], signature + "\x21\x21\x00\x0c" + four[16:], signature + "\x21\x11\xff\xff",
	} {
		if h, n, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) || n != 0 || h.Source != (netip.AddrPort{}) {
			t.Errorf("%q: %+v, %d, %v", text, h, n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(four + "GET"))
	f.Add([]byte(six))
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 4242 443\r\n\x05"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		switch {
		case err == nil:
			if n <= 0 || n > len(b) || n > MaxLen+16 || h.Source.IsValid() != h.Destination.IsValid() {
				t.Fatalf("%+v of %d octets", h, n)
			}
			if again, m, err := Parse(b[:n]); again != h || m != n || err != nil {
				t.Fatalf("what follows changes it: %+v %d %v", again, m, err)
			}
			if _, _, err := Parse(b[:n-1]); !errors.Is(err, ErrShort) {
				t.Fatalf("one octet less: %v", err)
			}
		case errors.Is(err, ErrShort) && len(b) >= MaxLen+16:
			t.Fatal("it goes on for ever")
		}
	})
}
