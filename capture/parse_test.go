package capture_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"watertight/capture"
)

func question(name string) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// hello gives the first record of a TLS client.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: name}).Handshake()
		near.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestServerName_NeedsTheWholeHello(t *testing.T) {
	whole := hello(t, name)
	if got, ok := capture.ServerName(whole); !ok || got != name {
		t.Fatalf("read %q, %v", got, ok)
	}
	for n := range len(whole) {
		if got, ok := capture.ServerName(whole[:n]); ok {
			t.Fatalf("read %q in the first %d octets", got, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(udp(f, client, server, question(name)).Frame)
	f.Add(tcp(f, client, server, 1, true, hello(f, name)).Frame)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := capture.Decode(b)
		if !bytes.Contains(b, p.Payload) {
			t.Errorf("the payload is not in the frame: %x", p.Payload)
		}
		capture.Names([]capture.Packet{p, p})
		capture.Search([]capture.Packet{p}, name)
	})
}

func FuzzServerName(f *testing.F) {
	f.Add(hello(f, name))
	f.Add([]byte{22, 3, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := capture.ServerName(b); ok && !bytes.Contains(b, []byte(got)) {
			t.Errorf("read %q, which is not there", got)
		}
	})
}
