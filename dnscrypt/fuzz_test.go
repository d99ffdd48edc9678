package dnscrypt

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
)

func expected(err error) bool {
	for _, want := range []error{
		ErrMalformed, ErrTooLong, ErrMagic, ErrNonce, ErrDecrypt, ErrPadding, ErrKey, ErrSignature, ErrUnsupported, ErrRelay,
	} {
		if errors.Is(err, want) {
			return true
		}
	}
	return err == nil
}

func FuzzCertificate(f *testing.F) {
	v := load(f)
	for _, set := range v.Sets {
		f.Add([]byte(set.Certificate))
		f.Add([]byte(set.Extended))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCertificate(b, public); err == nil || !expected(err) || c != (Certificate{}) {
			t.Errorf("not signed, and read: %+v, %v", c, err)
		}
		if len(b) < certLen {
			return
		}
		b = resigned(b, func(b []byte) []byte { return b })
		c, err := ParseCertificate(b, public)
		if err != nil {
			if !expected(err) {
				t.Error(err)
			}
			return
		}
		again, err := Sign(provider, c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseCertificate(again, public); err != nil || back != c {
			t.Errorf("%+v became %+v, %v", c, back, err)
		}
		_, _ = Choose([][]byte{b, again}, ed25519.PublicKey(v.Provider), c.NotBefore)
	})
}

func FuzzQuery(f *testing.F) {
	v := load(f)
	var servers []*Server
	for _, set := range v.Sets {
		s, err := newServer(Certificate{Encryption: set.Encryption, ClientMagic: [8]byte([]byte("magic!!!"))}, private(f, v.Resolver))
		if err != nil {
			f.Fatal(err)
		}
		servers = append(servers, s)
		f.Add([]byte(set.QueryPacket))
		header, _ := AppendRelayHeader(nil, netip.MustParseAddrPort("192.0.2.1:443"))
		f.Add(append(header, set.QueryPacket...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range servers {
			if _, _, err := s.Open(b); !expected(err) {
				t.Error(err)
			}
		}
		server, inner, err := ParseRelayed(b)
		if !expected(err) {
			t.Error(err)
		}
		if err != nil {
			return
		}
		if again, err := AppendRelayHeader(nil, server); err != nil || len(again)+len(inner) != len(b) {
			t.Errorf("%s: %v", server, err)
		}
		_ = MayRelay(server)
	})
}

func FuzzResponse(f *testing.F) {
	v := load(f)
	var exchanges []*Exchange
	var replies []*Reply
	for _, set := range v.Sets {
		x := &Exchange{box: box{encryption: set.Encryption, key: [32]byte(set.Key)}, nonce: [12]byte(v.ClientNonce)}
		exchanges = append(exchanges, x)
		replies = append(replies, &Reply{box: x.box, nonce: x.nonce})
		f.Add([]byte(set.ResponsePacket), pad(v.Response, 128))
		f.Add([]byte(set.QueryPacket), []byte("\x80"))
	}
	f.Fuzz(func(t *testing.T, packet, padded []byte) {
		for i, x := range exchanges {
			if _, err := x.Open(packet); !expected(err) {
				t.Error(err)
			}
			_ = CheckRelayed(padded, packet)
			nonce := [24]byte(append(bytes.Clone(v.ClientNonce), v.ResolverNonce...))
			got, err := x.Open(replies[i].packet(padded, &nonce))
			if !expected(err) {
				t.Error(err)
			}
			if err == nil && !bytes.Equal(pad(got, len(padded)), padded) {
				t.Errorf("%x was taken for %x", padded, got)
			}
		}
	})
}
