package dnscrypt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	provider = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	public   = provider.Public().(ed25519.PublicKey)
	start    = time.Unix(1700000000, 0)
	end      = start.Add(24 * time.Hour)
)

// signed makes a certificate of a fresh server.
func signed(t testing.TB, e Encryption, serial uint32, from, to time.Time) []byte {
	t.Helper()
	s, err := NewServer(Certificate{Encryption: e, Serial: serial, NotBefore: from, NotAfter: to})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Sign(provider, s.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resigned signs octets that Sign would not.
func resigned(b []byte, edit func([]byte) []byte) []byte {
	b = edit(bytes.Clone(b))
	copy(b[atSignature:], ed25519.Sign(provider, b[atSigned:]))
	return b
}

func TestACertificateIsRefusedUnlessEveryOctetIsTheProviders(t *testing.T) {
	good := signed(t, XChaCha20Poly1305, 1, start, end)
	if len(good) != 124 {
		t.Errorf("%d octets", len(good))
	}
	for i := atSignature; i < len(good); i++ {
		b := bytes.Clone(good)
		b[i] ^= 1
		if c, err := ParseCertificate(b, public); !errors.Is(err, ErrSignature) || c != (Certificate{}) {
			t.Errorf("octet %d changed: %v", i, err)
		}
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	if _, err := ParseCertificate(good, other); !errors.Is(err, ErrSignature) {
		t.Errorf("another provider: %v", err)
	}
	if _, err := ParseCertificate(append(bytes.Clone(good), 0), public); !errors.Is(err, ErrSignature) {
		t.Errorf("an extension that was not signed: %v", err)
	}
	for _, tt := range []struct {
		title string
		b     []byte
		key   ed25519.PublicKey
		want  error
	}{
		{"nothing", nil, public, ErrMalformed},
		{"cut", good[:123], public, ErrMalformed},
		{"too long", resigned(good, func(b []byte) []byte { return append(b, make([]byte, MaxCertificate-123)...) }), public, ErrMalformed},
		{"as long as may be", resigned(good, func(b []byte) []byte { return append(b, make([]byte, MaxCertificate-124)...) }), public, nil},
		{"another magic", resigned(good, func(b []byte) []byte { b[3] = 'X'; return b }), public, ErrMalformed},
		{"es-version 3", resigned(good, func(b []byte) []byte { b[5] = 3; return b }), public, ErrUnsupported},
		{"es-version 0x0102", resigned(good, func(b []byte) []byte { b[4] = 1; return b }), public, ErrUnsupported},
		{"another minor version", resigned(good, func(b []byte) []byte { b[7] = 9; return b }), public, nil},
		{"client magic as of QUIC", resigned(good, func(b []byte) []byte { clear(b[atMagic : atMagic+7]); return b }), public, ErrMalformed},
		{"ends before it starts", resigned(good, func(b []byte) []byte { binary.BigEndian.PutUint32(b[atEnd:], 1); return b }), public, ErrMalformed},
		{"short key of the provider", good, public[:31], ErrKey},
		{"no key of the provider", good, nil, ErrKey},
	} {
		if c, err := ParseCertificate(tt.b, tt.key); !errors.Is(err, tt.want) || err != nil && c != (Certificate{}) {
			t.Errorf("%s: %+v, %v", tt.title, c, err)
		}
	}
}

func TestBothEndsBelongToTheValidity(t *testing.T) {
	c, err := ParseCertificate(signed(t, XChaCha20Poly1305, 1, start, end), public)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		now  time.Time
		want error
	}{
		{start.Add(-1), ErrNotYet},
		{start, nil},
		{end.Add(time.Second - 1), nil},
		{end.Add(time.Second), ErrExpired},
		{time.Time{}, ErrNotYet},
	} {
		if err := c.ValidAt(tt.now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.now, err)
		}
	}
}

func TestTheHighestSerialOfTheValidOnesIsChosen(t *testing.T) {
	now := start.Add(time.Hour)
	valid := func(e Encryption, serial uint32) []byte { return signed(t, e, serial, start, end) }
	expired := signed(t, XChaCha20Poly1305, 99, start.Add(-time.Hour), now.Add(-time.Second))
	future := signed(t, XChaCha20Poly1305, 98, now.Add(time.Second), end)
	forged := valid(XChaCha20Poly1305, 97)
	forged[atSerial] = 0xff
	unknown := resigned(valid(XChaCha20Poly1305, 96), func(b []byte) []byte { b[5] = 3; return b })
	bad := [][]byte{expired, future, forged, unknown, []byte("v=spf1 -all")}

	for _, tt := range []struct {
		title   string
		records [][]byte
		want    int
	}{
		{"highest first", [][]byte{valid(2, 5), valid(2, 4)}, 0},
		{"highest last", [][]byte{valid(1, 4), valid(2, 3), valid(1, 0xffffffff)}, 2},
		{"XChaCha20 at the same serial", [][]byte{valid(1, 5), valid(2, 5), valid(1, 5)}, 1},
		{"serial before cipher", [][]byte{valid(1, 6), valid(2, 5)}, 0},
		{"among bad ones", append(bad, valid(1, 1)), len(bad)},
	} {
		got, err := Choose(tt.records, public, now)
		want, _ := ParseCertificate(tt.records[tt.want], public)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", tt.title, got, err)
		}
	}
	c, err := Choose(bad, public, now)
	if c != (Certificate{}) {
		t.Errorf("%+v", c)
	}
	for _, want := range []error{ErrNoneValid, ErrExpired, ErrNotYet, ErrSignature, ErrUnsupported, ErrMalformed} {
		if !errors.Is(err, want) {
			t.Errorf("%v does not wrap %v", err, want)
		}
	}
	if _, err := Choose(nil, public, now); !errors.Is(err, ErrNoneValid) {
		t.Error(err)
	}
	if _, err := Choose(make([][]byte, MaxCertificates+1), public, now); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

func TestOnlyWhatCanBeReadIsSigned(t *testing.T) {
	good := Certificate{Encryption: 2, ClientMagic: [8]byte{1}, NotBefore: start, NotAfter: end}
	for _, tt := range []struct {
		key  ed25519.PrivateKey
		edit func(*Certificate)
		want error
	}{
		{provider, func(*Certificate) {}, nil},
		{provider[:32], func(*Certificate) {}, ErrKey},
		{provider, func(c *Certificate) { c.ClientMagic = [8]byte{7: 1} }, ErrMalformed},
		{provider, func(c *Certificate) { c.NotAfter = start.Add(-time.Second) }, ErrMalformed},
		{provider, func(c *Certificate) { c.NotBefore = time.Unix(-1, 0) }, ErrMalformed},
		{provider, func(c *Certificate) { c.NotAfter = time.Unix(1<<32, 0) }, ErrMalformed},
	} {
		c := good
		tt.edit(&c)
		if _, err := Sign(tt.key, c); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, e := range []Encryption{0, 3, 0x100} {
		if _, err := NewServer(Certificate{Encryption: e}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", e, err)
		}
	}
}

func TestAProviderIsNamedAsTheProtocolDemands(t *testing.T) {
	for s, want := range map[string]string{
		"2.dnscrypt-cert.quad9.net":    "2.dnscrypt-cert.quad9.net",
		"2.DNSCrypt-Cert.Example.com.": "2.dnscrypt-cert.example.com",
		"2.dnscrypt-cert.localhost":    "2.dnscrypt-cert.localhost",
		"1.dnscrypt-cert.example.com":  "",
		"dnscrypt-cert.example.com":    "",
		"2.dnscrypt-cert.":             "",
		"2.dnscrypt-cert":              "",
		"2.dnscrypt-certain.example":   "",
		"dns.example":                  "",
		"192.0.2.1":                    "",
		"2.dnscrypt-cert.a b":          "",
		"":                             "",
		"2.dnscrypt-cert." + strings.Repeat("a.", 200) + "example": "",
	} {
		got, err := ProviderName(s)
		if got != want || (want == "") != errors.Is(err, ErrProvider) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}
