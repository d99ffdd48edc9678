package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

func TestASignerSignsWhatVerifies(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner("example.net", key)
	if err != nil {
		t.Fatal(err)
	}
	dnskey := s.Key(60).RR().(*dns.DNSKEY)
	if ds := dnskey.ToDS(dns.SHA256); !strings.HasSuffix(s.DS(), strings.ToUpper(ds.Digest)) || dnskey.Hdr.Ttl != 60 {
		t.Errorf("%s\n%s", s.DS(), ds)
	}
	set := []dnswire.Record{
		dnswire.AddrRecord("www.example.net", 60, netip.MustParseAddr("192.0.2.2")),
		dnswire.AddrRecord("www.example.net", 60, netip.MustParseAddr("192.0.2.1")),
	}
	now := time.Now()
	sig, err := s.Sign(set, now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	rr := sig.RR().(*dns.RRSIG)
	if err := rr.Verify(dnskey, []dns.RR{set[1].RR(), set[0].RR()}); err != nil || !rr.ValidityPeriod(now) || rr.ValidityPeriod(now.Add(2*time.Hour)) || rr.Labels != 3 {
		t.Errorf("%v %v", err, rr)
	}
	spoilt, err := Spoil(sig)
	if err != nil {
		t.Fatal(err)
	}
	bad := spoilt.RR().(*dns.RRSIG)
	if err := bad.Verify(dnskey, []dns.RR{set[0].RR(), set[1].RR()}); err == nil {
		t.Error("a spoilt signature holds")
	}
	if bad.Signature = rr.Signature; bad.String() != rr.String() {
		t.Errorf("more is spoilt than the signature: %v", bad)
	}
}

func TestASignerRefusesWhatItCannotSign(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*ecdsa.PrivateKey{nil, other} {
		if _, err := NewSigner("example.net", key); err == nil {
			t.Error("a key of the wrong kind")
		}
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s, _ := NewSigner("example.net", key)
	for _, set := range [][]dnswire.Record{nil, {{}}} {
		if _, err := s.Sign(set, time.Now(), time.Now()); err == nil {
			t.Errorf("%v was signed", set)
		}
	}
	if _, err := Spoil(dnswire.AddrRecord("a", 1, netip.MustParseAddr("192.0.2.1"))); err == nil {
		t.Error("no signature was spoilt")
	}
}
