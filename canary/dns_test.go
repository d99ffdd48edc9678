package canary

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/visit"
	"watertight/wire"
)

const testZone = "canary.example.net"

// newNames makes a name server for tests.
func newNames(t testing.TB, change func(*Options)) *DNS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Zone:      testZone,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80")},
		Servers: []Server{
			{Name: "ns1." + testZone, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}},
			{Name: "a.b.ns." + testZone, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.54")}},
		},
		Secure: true, Log: NewLog(LogOptions{Now: time.Now, Passed: Stopwatch()}), Networks: Nowhere{}, Now: time.Now, Version: "test",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&o)
	}
	d, err := NewDNS(o, key)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// served is a name server with sockets on loopback.
type served struct {
	*DNS
	t        testing.TB
	udp, tcp netip.AddrPort
}

func serve(t testing.TB, d *DNS) *served {
	t.Helper()
	conn, err := wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := wire.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func() error{func() error { return d.ServeUDP(ctx, conn) }, func() error { return d.ServeTCP(ctx, l) }} {
		running.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	return &served{DNS: d, t: t, udp: conn.LocalAddr().(*net.UDPAddr).AddrPort(), tcp: l.Addr().(*net.TCPAddr).AddrPort()}
}

// question makes a query.
func question(name string, typ uint16, change ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	m.RecursionDesired = false
	for _, c := range change {
		c(m)
	}
	return m
}

// secure wants signatures.
func secure(m *dns.Msg) { m.SetEdns0(1232, true) }

// with adds options.
func with(options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, options...)
	}
}

// over asks by a transport.
func (s *served) over(network string, m *dns.Msg) *dns.Msg {
	s.t.Helper()
	r, err := s.exchange(network, m, 20*time.Second)
	if err != nil {
		s.t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	if r.RecursionAvailable {
		s.t.Errorf("recursion is available: %v", r)
	}
	return r
}

// exchange asks by a transport, and waits so long for the answer.
func (s *served) exchange(network string, m *dns.Msg, wait time.Duration) (*dns.Msg, error) {
	s.t.Helper()
	at, q := s.udp, pack(s.t, m)
	if network == "tcp" {
		at, q = s.tcp, append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	}
	conn, err := net.Dial(network, at.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := conn.Write(q); err != nil {
		return nil, err
	}
	b := make([]byte, 65535)
	n := 0
	if network == "tcp" {
		if _, err := io.ReadFull(conn, b[:2]); err != nil {
			return nil, err
		}
		n, err = io.ReadFull(conn, b[:binary.BigEndian.Uint16(b)])
	} else {
		n, err = conn.Read(b)
	}
	if err != nil {
		return nil, err
	}
	r := new(dns.Msg)
	if err := r.Unpack(b[:n]); err != nil || r.Id != m.Id {
		s.t.Fatalf("%v: %x", err, b[:n])
	}
	return r, nil
}

// texts gives the data of the records of a type in a section.
func texts(section []dns.RR, typ uint16) string {
	var out []string
	for _, rr := range section {
		if rr.Header().Rrtype == typ {
			out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return strings.Join(out, " ")
}

func TestEveryBranchIsAnsweredAsItsNameSays(t *testing.T) {
	s := serve(t, newNames(t, nil))
	label := visit.NewLabel()
	for _, c := range []struct {
		name  string
		typ   uint16
		rcode int
		want  string // the data of the answer
		aa    bool
	}{
		{visit.Name(label, visit.Plain, testZone), dns.TypeA, 0, "192.0.2.80", true},
		{visit.Name(label, visit.Plain, testZone), dns.TypeAAAA, 0, "2001:db8::80", true},
		{visit.Name(label, visit.Plain, testZone), dns.TypeTXT, 0, `"watertight canary, visit ` + label + `"`, true},
		{visit.Name(label, visit.Plain, testZone), dns.TypeHTTPS, 0, `1 . ipv4hint="192.0.2.80" ipv6hint="2001:db8::80"`, true},
		{visit.Name(label, visit.Plain, testZone), dns.TypeMX, 0, "", true},
		{"deep.er." + visit.Name(label, visit.Plain, testZone), dns.TypeA, 0, "192.0.2.80", true},
		{"er." + visit.Name(label, visit.V6, testZone), dns.TypeNS, 0, "", true},
		{visit.Name(label, visit.V4, testZone), dns.TypeA, 0, "192.0.2.80", true},
		{visit.Name(label, visit.V4, testZone), dns.TypeAAAA, 0, "", true},
		{visit.Name(label, visit.V4, testZone), dns.TypeHTTPS, 0, `1 . ipv4hint="192.0.2.80"`, true},
		{visit.Name(label, visit.V6, testZone), dns.TypeA, 0, "", true},
		{visit.Name(label, visit.V6, testZone), dns.TypeAAAA, 0, "2001:db8::80", true},
		{visit.Name(label, visit.V6, testZone), dns.TypeHTTPS, 0, `1 . ipv6hint="2001:db8::80"`, true},
		{visit.Name(label, visit.Short, testZone), dns.TypeA, 0, "192.0.2.80", true},
		{visit.Name(label, visit.Servfail, testZone), dns.TypeA, dns.RcodeServerFailure, "", true},
		{visit.Name(label, visit.Refused, testZone), dns.TypeA, dns.RcodeRefused, "", false},
		{visit.Name(label, visit.Nxdomain, testZone), dns.TypeA, dns.RcodeNameError, "", true},
		{"below." + visit.Name(label, visit.Nxdomain, testZone), dns.TypeA, dns.RcodeNameError, "", true},
		{visit.Name(label, visit.Bogus, testZone), dns.TypeA, 0, "192.0.2.80", true},
		{testZone, dns.TypeA, 0, "192.0.2.80", true},
		{testZone, dns.TypeNS, 0, "ns1.canary.example.net. a.b.ns.canary.example.net.", true},
		{testZone, dns.TypeSOA, 0, "ns1.canary.example.net. hostmaster.canary.example.net. 1 7200 3600 1209600 5", true},
		{testZone, dns.TypeDS, 0, "", true},
		{testZone, dns.TypeCAA, 0, "", true},
		{testZone, dns.TypeANY, 0, `"RFC8482" ""`, true},
		{testZone, dns.TypeRRSIG, dns.RcodeRefused, "", false},
		{"ns1." + testZone, dns.TypeAAAA, 0, "2001:db8::53", true},
		{"b.ns." + testZone, dns.TypeA, 0, "", true},
		{"ns." + testZone, dns.TypeA, 0, "", true},
		{"www." + testZone, dns.TypeA, dns.RcodeNameError, "", true},
		{label + "-." + testZone, dns.TypeA, dns.RcodeNameError, "", true},
		{"_acme-challenge." + testZone, dns.TypeTXT, dns.RcodeNameError, "", true},
		{"whoami." + testZone, dns.TypeA, 0, "127.0.0.1", true},
		{"whoami." + testZone, dns.TypeTXT, 0, `"127.0.0.1"`, true},
		{"whoami." + testZone, dns.TypeAAAA, 0, "", true},
		{"example.net", dns.TypeA, dns.RcodeRefused, "", false},
		{`x\.canary.example.net`, dns.TypeA, dns.RcodeRefused, "", false},
		{`x\.` + visit.Name(label, visit.Plain, testZone), dns.TypeA, dns.RcodeNameError, "", true},
		{".", dns.TypeNS, dns.RcodeRefused, "", false},
		{testZone, dns.TypeAXFR, dns.RcodeRefused, "", false},
		{testZone, dns.TypeIXFR, dns.RcodeRefused, "", false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if c.typ == dns.TypeAXFR && network == "udp" {
				continue
			}
			r := s.over(network, question(c.name, c.typ))
			if r.Rcode != c.rcode || texts(r.Answer, c.typ) != c.want && c.typ != dns.TypeANY || r.Authoritative != c.aa || r.Truncated {
				t.Errorf("%s %s over %s:\n%v", c.name, dns.TypeToString[c.typ], network, r)
			}
			if c.typ == dns.TypeANY && texts(r.Answer, dns.TypeHINFO) != c.want {
				t.Errorf("ANY:\n%v", r)
			}
			if negative := c.aa && len(r.Answer) == 0 && r.Rcode != dns.RcodeServerFailure; negative != (texts(r.Ns, dns.TypeSOA) != "") {
				t.Errorf("%s %s: the SOA record:\n%v", c.name, dns.TypeToString[c.typ], r)
			}
		}
	}
	if r := s.over("udp", question(visit.Name(label, visit.Short, testZone), dns.TypeA)); r.Answer[0].Header().Ttl != 1 {
		t.Errorf("%v", r)
	}
	if got, _ := s.o.Log.Seen(label); len(got.Queries) < 30 || got.Queries[0].From.Addr() != netip.MustParseAddr("127.0.0.1") || !got.Minimised {
		t.Errorf("%d queries", len(got.Queries))
	}
}
