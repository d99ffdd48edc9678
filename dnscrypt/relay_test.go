package dnscrypt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// The example of ANONYMIZED-DNSCRYPT, section 2.
func TestARelaysHeaderIsThatOfTheSpecification(t *testing.T) {
	got, err := AppendRelayHeader([]byte("x"), netip.MustParseAddrPort("192.0.2.1:443"))
	if want := "78ffffffffffffffff000000000000000000000000ffffc000020101bb"; err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, %v", got, err)
	}
	for _, s := range []string{"192.0.2.1:443", "[2001:db8::1]:8443"} {
		server := netip.MustParseAddrPort(s)
		b, _ := AppendRelayHeader(nil, server)
		if len(b) != RelayHeaderLen {
			t.Errorf("%d octets", len(b))
		}
		to, inner, err := ParseRelayed(append(b, "twelve octets"...))
		if err != nil || to != server || string(inner) != "twelve octets" {
			t.Errorf("%s: %s, %q, %v", s, to, inner, err)
		}
	}
}

func TestAServerThatNobodyCanReachIsNotWritten(t *testing.T) {
	for _, s := range []netip.AddrPort{
		{},
		netip.MustParseAddrPort("192.0.2.1:0"),
		netip.MustParseAddrPort("0.0.0.0:443"),
		netip.MustParseAddrPort("[::]:443"),
		netip.MustParseAddrPort("[fe80::1%eth0]:443"),
	} {
		if b, err := AppendRelayHeader(nil, s); !errors.Is(err, ErrRelay) || b != nil {
			t.Errorf("%s: %x, %v", s, b, err)
		}
	}
}

func TestARelayRefusesWhatItMustNotSendOn(t *testing.T) {
	header, _ := AppendRelayHeader(nil, netip.MustParseAddrPort("192.0.2.1:443"))
	h, rest := string(header), strings.Repeat("q", 300)
	for _, tt := range []struct {
		title, packet string
		want          error
	}{
		{"a query", h + rest, nil},
		{"six zeros", h + strings.Repeat("\x00", 6) + rest, nil},
		{"no header", rest, ErrMagic},
		{"nothing", "", ErrMagic},
		{"half a header", h[:20], ErrMalformed},
		{"header alone", h, ErrMalformed},
		{"a relay behind the relay", h + h + rest, ErrRelay},
		{"QUIC", h + strings.Repeat("\x00", 7) + rest, ErrRelay},
		{"port 0", h[:26] + "\x00\x00" + rest, ErrRelay},
		{"no address", h[:10] + strings.Repeat("\x00", 16) + h[26:] + rest, ErrRelay},
		{"no IPv4 address", h[:22] + strings.Repeat("\x00", 4) + h[26:] + rest, ErrRelay},
	} {
		_, inner, err := ParseRelayed([]byte(tt.packet))
		if !errors.Is(err, tt.want) || err != nil && inner != nil {
			t.Errorf("%s: %v", tt.title, err)
		}
	}
}

func TestARelaySendsToPublicAddressesAndPermittedPortsAlone(t *testing.T) {
	for s, want := range map[string]bool{
		"9.9.9.9:443":                 true,
		"[2620:fe::fe]:443":           true,
		"[::ffff:9.9.9.9]:443":        true,
		"9.9.9.9:53":                  false,
		"10.0.0.1:443":                false,
		"[::ffff:10.0.0.1]:443":       false,
		"172.16.0.1:443":              false,
		"192.168.1.1:443":             false,
		"127.0.0.1:443":               false,
		"169.254.1.1:443":             false,
		"100.64.0.1:443":              false,
		"198.18.0.1:443":              false,
		"203.0.113.1:443":             false,
		"224.0.0.1:443":               false,
		"240.0.0.1:443":               false,
		"255.255.255.255:443":         false,
		"0.1.2.3:443":                 false,
		"[::1]:443":                   false,
		"[::a00:1]:443":               false,
		"[64:ff9b::a00:1]:443":        false,
		"[2002:a00:1::]:443":          false,
		"[2001:db8::1]:443":           false,
		"[2001:0:1::]:443":            false,
		"[fc00::1]:443":               false,
		"[fe80::1]:443":               false,
		"[fec0::1]:443":               false,
		"[ff02::1]:443":               false,
		"[64:ff9b:1::192.168.1.1]:53": false,
	} {
		if err := MayRelay(netip.MustParseAddrPort(s)); (err == nil) != want || err != nil && !errors.Is(err, ErrRelay) {
			t.Errorf("%s: %v", s, err)
		}
	}
	server := netip.MustParseAddrPort("9.9.9.9:8443")
	if err := MayRelay(server, 443, 8443); err != nil {
		t.Error(err)
	}
	if err := MayRelay(server, 443); !errors.Is(err, ErrRelay) {
		t.Error(err)
	}
}

func TestARelaySendsBackOnlyShorterResponsesToTheQuery(t *testing.T) {
	c, s := pair(t, XChaCha20Poly1305)
	packet, _, _ := c.SealUDP(message(40), 256)
	other, _, _ := c.SealUDP(message(40), 256)
	_, r, err := s.Open(packet)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := r.SealUDP(message(200))
	long, _ := r.SealTCP(message(300))
	cert := []byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x012\x0ddnscrypt-cert\x07example\x00")
	for _, tt := range []struct {
		title           string
		inner, response []byte
		want            error
	}{
		{"its response", packet, sealed, nil},
		{"a certificate", packet, cert, nil},
		{"the response to another", other, sealed, ErrRelay},
		{"longer than the query", packet, long, ErrRelay},
		{"as long as the query", packet[:len(sealed)], sealed, ErrRelay},
		{"one octet shorter", packet[:len(sealed)+1], sealed, nil},
		{"other DNS", packet, bytes.Replace(cert, []byte("cert"), []byte("mail"), 1), ErrRelay},
		{"nothing", packet, nil, ErrRelay},
		{"short query", packet[:20], cert[:10], ErrRelay},
	} {
		if err := CheckRelayed(tt.inner, tt.response); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.title, err)
		}
	}
}
