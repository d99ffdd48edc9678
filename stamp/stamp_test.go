package stamp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"watertight/name"
)

func hash(t testing.TB, s string) [32]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q: %v", s, err)
	}
	return [32]byte(b)
}

// vectors are stamps that others made: the list of public resolvers and relays at dnscrypt.info, the example of
// draft-denis-dns-stamps, and the tests of the reference implementation (github.com/jedisct1/go-dnsstamps). The test
// vectors of the draft's appendix are left out: their lengths are wrong.
func vectors(t testing.TB) []vector {
	quad9 := hash(t, "b01920744bbb76c9ab053e01e07b7e050e473d20f79f7bea435fafe43c9d242f")
	local := hash(t, "c3846bf24b9e93ca64274c0ec67c1ecc5e024ffcacd2d74019350e81fe546ae4")
	all := Props{DNSSEC: true, NoLog: true, NoFilter: true}
	ap := netip.MustParseAddrPort
	return []vector{
		{"the draft's example", "sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTM", true, Stamp{
			Kind: Plain, Props: Props{DNSSEC: true}, Addr: ap("192.0.2.53:53"),
		}},
		{"plain with a port", "sdns://AAcAAAAAAAAADDguOC44Ljg6ODA1Mw", true, Stamp{Kind: Plain, Props: all, Addr: ap("8.8.8.8:8053")}},
		{"DNSCrypt with a port", "sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0", true, Stamp{
			Kind: DNSCrypt, Props: Props{DNSSEC: true, NoLog: true}, Addr: ap("9.9.9.9:8443"), Provider: "2.dnscrypt-cert.quad9.net",
			PublicKey: hash(t, "67c847b8c8758cd120245543be756746df34df1d84c00b8c470368df821d863e"),
		}},
		{"DNSCrypt over IPv6", "sdns://AQEAAAAAAAAAD1syNjIwOjA6Y2NjOjoyXSC3NRFAIG8iXT4r2CLX_WkeocM8yNZmjQy-BL-rykP7eRsyLmRuc2NyeXB0LWNlcnQub3BlbmRucy5jb20", true, Stamp{
			Kind: DNSCrypt, Props: Props{DNSSEC: true}, Addr: ap("[2620:0:ccc::2]:443"), Provider: "2.dnscrypt-cert.opendns.com",
			PublicKey: hash(t, "b7351140206f225d3e2bd822d7fd691ea1c33cc8d6668d0cbe04bfabca43fb79"),
		}},
		{"DoH with a hash and its own port", "sdns://AgMAAAAAAAAABzkuOS45LjkgsBkgdEu7dsmrBT4B4Ht-BQ5HPSD3n3vqQ1-v5DydJC8SZG5zOS5xdWFkOS5uZXQ6NDQzCi9kbnMtcXVlcnk", false, Stamp{
			Kind: DoH, Props: Props{DNSSEC: true, NoLog: true}, Addr: ap("9.9.9.9:443"), Host: name.Must("dns9.quad9.net:443"), Path: "/dns-query",
			Hashes: [][32]byte{quad9},
		}},
		{"DoH without a hash", "sdns://AgcAAAAAAAAABzEuMC4wLjEAEmRucy5jbG91ZGZsYXJlLmNvbQovZG5zLXF1ZXJ5", true, Stamp{
			Kind: DoH, Props: all, Addr: ap("1.0.0.1:443"), Host: name.Must("dns.cloudflare.com:443"), Path: "/dns-query",
		}},
		{"DoH whose host is an address", "sdns://AgcAAAAAAAAAFlsyNjA2OjQ3MDA6NDcwMDo6MTExMV0AGlsyNjA2OjQ3MDA6NDcwMDo6MTExMV06NDQzCi9kbnMtcXVlcnk", false, Stamp{
			Kind: DoH, Props: all, Addr: ap("[2606:4700:4700::1111]:443"), Host: name.Must("[2606:4700:4700::1111]:443"), Path: "/dns-query",
		}},
		{"DoT", "sdns://AwcAAAAAAAAACTEyNy4wLjAuMSDDhGvyS56TymQnTA7GfB7MXgJP_KzS10AZNQ6B_lRq5A9kbnMuZXhhbXBsZS5jb20", true, Stamp{
			Kind: DoT, Props: all, Addr: ap("127.0.0.1:853"), Host: name.Must("dns.example.com:853"), Hashes: [][32]byte{local},
		}},
		{"DoT with the port in the address", "sdns://AwcAAAAAAAAADDEuMS4xLjE6ODg1MyDDhGvyS56TymQnTA7GfB7MXgJP_KzS10AZNQ6B_lRq5BJjbG91ZGZsYXJlLWRucy5jb20", false, Stamp{
			Kind: DoT, Props: all, Addr: ap("1.1.1.1:8853"), Host: name.Must("cloudflare-dns.com:8853"), Hashes: [][32]byte{local},
		}},
		{"DoQ", "sdns://BAcAAAAAAAAACTEyNy4wLjAuMSDDhGvyS56TymQnTA7GfB7MXgJP_KzS10AZNQ6B_lRq5A9kbnMuZXhhbXBsZS5jb20", true, Stamp{
			Kind: DoQ, Props: all, Addr: ap("127.0.0.1:853"), Host: name.Must("dns.example.com:853"), Hashes: [][32]byte{local},
		}},
		{"ODoH target", "sdns://BQMAAAAAAAAADGRvaC50aWFyLmFwcAUvb2RvaA", true, Stamp{
			Kind: ODoHTarget, Props: Props{DNSSEC: true, NoLog: true}, Host: name.Must("doh.tiar.app:443"), Path: "/odoh",
		}},
		{"DNSCrypt relay", "sdns://gQ8xNDYuNzAuODIuMzo0NDM", true, Stamp{Kind: DNSCryptRelay, Addr: ap("146.70.82.3:443")}},
		{"DNSCrypt relay without a port", "sdns://gQ5bMmExMDpjYTgwOjphXQ", false, Stamp{Kind: DNSCryptRelay, Addr: ap("[2a10:ca80::a]:443")}},
		{"ODoH relay without an address", "sdns://hQcAAAAAAAAAAAASb2RvaC1yZWxheS5udW1hLnJzBi9yZWxheQ", true, Stamp{
			Kind: ODoHRelay, Props: all, Host: name.Must("odoh-relay.numa.rs:443"), Path: "/relay",
		}},
		{"ODoH relay", "sdns://hQcAAAAAAAAAB1s6OjFdOjEgw4Rr8kuek8pkJ0wOxnwezF4CT_ys0tdAGTUOgf5UauQPZG9oLmV4YW1wbGUuY29tBi9yZWxheQ", false, Stamp{
			Kind: ODoHRelay, Props: all, Addr: ap("[::1]:1"), Host: name.Must("doh.example.com:1"), Path: "/relay", Hashes: [][32]byte{local},
		}},
	}
}

type vector struct {
	title, text string
	canonical   bool // Encode writes the very text
	want        Stamp
}

func TestStampsThatOthersMadeAreReadInFull(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.title, func(t *testing.T) {
			got, err := Parse(v.text)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, v.want) {
				t.Errorf("got  %+v\nwant %+v", got, v.want)
			}
			text, err := got.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if (text == v.text) != v.canonical {
				t.Errorf("written as %s", text)
			}
			if back, err := Parse(text); err != nil || !reflect.DeepEqual(back, v.want) {
				t.Errorf("read again: %+v, %v", back, err)
			}
		})
	}
}

func TestListsOfHashesAndBootstrapsKeepTheirOrder(t *testing.T) {
	s := Stamp{
		Kind: DoQ, Addr: netip.MustParseAddrPort("192.0.2.1:8853"), Host: name.Must("bücher.example:8853"),
		Hashes:     [][32]byte{{1}, {2}, {3}},
		Bootstraps: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("[2001:db8::3]:5353")},
	}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := encoding.DecodeString(strings.TrimPrefix(text, scheme))
	if !strings.Contains(string(payload), "\x14bücher.example:8853") {
		t.Errorf("the name is not in Unicode: %q", payload)
	}
	if got, err := Parse(text); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPropertiesWithoutAMeaningAreIgnored(t *testing.T) {
	got, err := Parse(stampOf("\x00\xfa\xff\xff\xff\xff\xff\xff\x80\x09192.0.2.1"))
	if err != nil || got.Props != (Props{NoLog: true}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheSchemeIsReadInAnyCase(t *testing.T) {
	if _, err := Parse("SDNS://AAEAAAAAAAAACjE5Mi4wLjIuNTM"); err != nil {
		t.Error(err)
	}
}

func stampOf(payload string) string { return scheme + encoding.EncodeToString([]byte(payload)) }

const props0 = "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestAStampThatIsWrongIsRefusedWithWhatAndWhere(t *testing.T) {
	const addr, none, host, path = "\x09192.0.2.1", "\x00", "\x09a.example", "\x02/q"
	key := "\x20" + strings.Repeat("k", 32)
	for _, tt := range []struct{ title, text, want string }{
		{"empty", "", "does not start with sdns://"},
		{"other scheme", "https://AAEAAAAAAAAACjE5Mi4wLjIuNTM", "does not start with sdns://"},
		{"no payload", "sdns://", "the payload is empty"},
		{"too long", scheme + strings.Repeat("A", MaxLength-6), "4097 octets, and at most 4096"},
		{"padding of base64", "sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTM=", "character 35: '='"},
		{"line end", "sdns://AAEAAAAA\nAAAACjE5Mi4wLjIuNTM", `character 16: '\n'`},
		{"two stamps in one", "sdns://gQ8xNDYuNzAuODIuMzo0NDM/AQcAAAA", "'/'"},
		{"loose last bits", "sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTN", "illegal base64"},
		{"unknown kind", stampOf("\x06" + props0), "protocol 0x06 is not known"},
		{"cut in the properties", stampOf("\x02\x00\x00"), "octet 1: properties: 8 octets are announced and 2 are left"},
		{"cut before the address", stampOf("\x00" + props0), "octet 9: address: 1 octets are announced and 0"},
		{"cut in the address", stampOf("\x00" + props0 + "\x0a192.0.2.1"), "octet 9: address: 10 octets are announced and 9"},
		{"more after the end", stampOf("\x00" + props0 + addr + "\x00"), "octet 19: end: 1 octets follow after the last field of a plain DNS stamp"},
		{"no address", stampOf("\x00" + props0 + none), "address: there is none"},
		{"port alone", stampOf("\x00" + props0 + "\x03:53"), "address: there is none"},
		{"name as an address", stampOf("\x00" + props0 + "\x09a.example"), "neither an IPv4 address"},
		{"IPv6 without brackets", stampOf("\x00" + props0 + "\x0b2001:db8::1"), "neither an IPv4 address"},
		{"IPv4 in brackets", stampOf("\x00" + props0 + "\x0b[192.0.2.1]"), "neither an IPv4 address"},
		{"zone", stampOf("\x00" + props0 + "\x0e[fe80::1%eth0]"), "zone"},
		{"unspecified", stampOf("\x00" + props0 + "\x070.0.0.0"), "the address of no host"},
		{"unspecified in disguise", stampOf("\x00" + props0 + "\x10[::ffff:0.0.0.0]"), "the address of no host"},
		{"multicast", stampOf("\x00" + props0 + "\x09[ff02::1]"), "the address of no host"},
		{"port 0", stampOf("\x00" + props0 + "\x0b192.0.2.1:0"), "the port must be"},
		{"port without a number", stampOf("\x00" + props0 + "\x0a192.0.2.1:"), "the port must be"},
		{"key of 31 octets", stampOf("\x01" + props0 + addr + "\x1f" + strings.Repeat("k", 31) + host), "octet 19: public key: 31 octets"},
		{"provider with a root dot", stampOf("\x01" + props0 + addr + key + "\x0aa.example."), "octet 52: provider name: \"a.example.\" ends in a dot"},
		{"provider that is no name", stampOf("\x01" + props0 + addr + key + "\x03a b"), "provider name"},
		{"provider that is an address", stampOf("\x01" + props0 + addr + key + "\x09192.0.2.1"), "is an address"},
		{"hash of 20 octets", stampOf("\x03" + props0 + addr + "\x14" + strings.Repeat("h", 20) + host), "octet 19: certificate hash: 20 octets"},
		{"empty hash among others", stampOf("\x03" + props0 + addr + "\x80\x20" + strings.Repeat("h", 32) + host), "octet 19: certificate hash: an item is empty"},
		{"hashes without an end", stampOf("\x03" + props0 + addr + "\xa0" + strings.Repeat("h", 32)), "octet 52: certificate hash: 1 octets"},
		{"no host", stampOf("\x03" + props0 + addr + none + none), "octet 20: host name"},
		{"host that is no name", stampOf("\x03" + props0 + addr + none + "\x0ba..example/"), "host name"},
		{"ports at odds", stampOf("\x03" + props0 + "\x0d192.0.2.1:853" + none + "\x0ea.example:8853"), "its port is 8853 and that of the address 853"},
		{"relative path", stampOf("\x05" + props0 + host + "\x01q"), "octet 19: path: \"q\" does not start with a slash"},
		{"path with a query", stampOf("\x05" + props0 + host + "\x03/?a"), "'?' may not stand in the path"},
		{"path with a line end", stampOf("\x05" + props0 + host + "\x03/\r\n"), `'\r' may not stand`},
		{"path with half an escape", stampOf("\x05" + props0 + host + "\x03/%4"), "'%' may not stand"},
		{"no path", stampOf("\x05" + props0 + host), "octet 19: path"},
		{"bootstrap by name", stampOf("\x02" + props0 + none + none + host + path + host), "octet 24: bootstrap address"},
		{"more after the bootstraps", stampOf("\x02" + props0 + none + none + host + path + addr + addr), "octet 34: end: 10 octets"},
		{"relay with properties", stampOf("\x81" + props0 + addr), "address: there is none"},
	} {
		t.Run(tt.title, func(t *testing.T) {
			got, err := Parse(tt.text)
			if !errors.Is(err, ErrStamp) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestEncodeDropsNothingInSilence(t *testing.T) {
	doh := Stamp{Kind: DoH, Addr: netip.MustParseAddrPort("192.0.2.1:443"), Host: name.Must("a.example:443"), Path: "/q"}
	for _, tt := range []struct {
		want string
		edit func(*Stamp)
	}{
		{"cannot hold its Provider", func(s *Stamp) { s.Provider = "2.dnscrypt-cert.example" }},
		{"cannot hold its PublicKey", func(s *Stamp) { s.PublicKey[3] = 1 }},
		{"cannot hold its Path", func(s *Stamp) { s.Kind = DoT }},
		{"cannot hold its Addr", func(s *Stamp) { s.Kind = ODoHTarget }},
		{"cannot hold its Addr", func(s *Stamp) { s.Addr = netip.MustParseAddrPort("192.0.2.1:444") }},
		{"cannot hold its Bootstraps", func(s *Stamp) {
			s.Bootstraps = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 53)}
		}},
		{"path: \"\" does not start", func(s *Stamp) { s.Path = "" }},
		{"path: 300 octets", func(s *Stamp) { s.Path = "/" + strings.Repeat("a", 299) }},
		{"host name", func(s *Stamp) { s.Host = name.Target{} }},
		{"protocol 0x07", func(s *Stamp) { s.Kind = 7 }},
		{"at most 4096 are read", func(s *Stamp) { s.Hashes = make([][32]byte, 100) }},
	} {
		s := doh
		tt.edit(&s)
		text, err := s.Encode()
		if !errors.Is(err, ErrStamp) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v", tt.want, text, err)
		}
		if !strings.Contains(s.String(), tt.want) {
			t.Errorf("String: %s", s)
		}
	}
}

func TestAHashIsOfTheSignedPartOfACertificateAndNotOfItsKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<31, 0)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{{RawTBSCertificate: []byte("other")}, cert}
	for _, tt := range []struct {
		title string
		of    []byte
		want  bool
	}{
		{"TBSCertificate", cert.RawTBSCertificate, true},
		{"SPKI", cert.RawSubjectPublicKeyInfo, false},
		{"certificate", cert.Raw, false},
	} {
		s := Stamp{Hashes: [][32]byte{{1}, sha256.Sum256(tt.of)}}
		if got := s.MatchChain(chain); got != tt.want {
			t.Errorf("%s: %t", tt.title, got)
		}
	}
	if (Stamp{}).MatchChain(chain) {
		t.Error("a stamp without hashes matched")
	}
}

func TestOnlyRelaysAreRelays(t *testing.T) {
	for k := range layouts {
		if k.IsRelay() != strings.HasSuffix(k.String(), "relay") {
			t.Errorf("%s: %t", k, k.IsRelay())
		}
	}
	if got := Kind(0x42).String(); got != "kind 0x42" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.text[len(scheme):]))
		payload, _ := encoding.DecodeString(v.text[len(scheme):])
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, text := range []string{scheme + string(b), stampOf(string(b))} {
			s, err := Parse(text)
			if err != nil {
				if !errors.Is(err, ErrStamp) {
					t.Errorf("%v is not ErrStamp", err)
				}
				continue
			}
			again, err := s.Encode()
			if err != nil && len(text) <= MaxLength-64 { // names grow in canonical form: Unicode is longer
				if !strings.Contains(err.Error(), "octets, and at most 255 fit") {
					t.Fatalf("%+v: %v", s, err)
				}
			}
			if err != nil {
				continue
			}
			if back, err := Parse(again); err != nil || s.differs(back) != "" {
				t.Errorf("%q became %q: %v", text, again, err)
			}
		}
	})
}
