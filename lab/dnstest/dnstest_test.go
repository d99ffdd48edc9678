package dnstest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnstest"
)

var (
	zone = dnstest.Zone{"www.shop.example. 60 CNAME api.shop.example.", "api.shop.example. 300 A 192.0.2.1"}
	www  = dnswire.Question{Name: "www.shop.example", Type: dnswire.A}
	at   = netip.MustParseAddrPort("203.0.113.53:853")
)

func query(t *testing.T, q dnswire.Question, id uint16) []byte {
	t.Helper()
	b, err := dnswire.Query(q, id, dnswire.PadQuery)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDoTServerAnswersFromItsZoneAndLogsTheQuery(t *testing.T) {
	var n dnstest.Net
	ca := dnstest.NewCA()
	s := dnstest.ServeDoT(n.Listen(at), ca.Issue([]string{"dns.example"}, nil), zone.Handler())
	defer s.Close()
	raw, err := n.DialAddr(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: "dns.example", RootCAs: ca.Pool(), NextProtos: []string{"dot"}})
	b := query(t, www, 7)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		t.Fatal(err)
	}
	var head [2]byte
	io.ReadFull(conn, head[:])
	reply := make([]byte, binary.BigEndian.Uint16(head[:]))
	io.ReadFull(conn, reply)
	a, err := dnswire.ParseAnswer(reply, www, 7)
	if err != nil || len(a.Addrs()) != 1 || a.Addrs()[0].String() != "192.0.2.1" {
		t.Fatalf("answer %+v, %v", a, err)
	}
	if got := s.Names(); len(got) != 1 || got[0] != www.Name || s.Count(www.Name, dnswire.A) != 1 || s.Conns() != 1 || s.Live() != 1 {
		t.Errorf("log %v, %d connections", got, s.Conns())
	}
}

func TestDoHServerSpeaksHTTP2AndLogsTheHeaders(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca := dnstest.NewCA()
	s := dnstest.ServeDoH(l, ca.Issue(nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")}), zone.Handler())
	defer s.Close()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("POST", "https://"+l.Addr().String()+"/q", bytes.NewReader(query(t, www, 0)))
	req.Header.Set("Content-Type", "application/dns-message")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	a, err := dnswire.ParseAnswer(b, www, 0)
	if err != nil || resp.ProtoMajor != 2 || len(a.Addrs()) != 1 {
		t.Fatalf("HTTP/%d, answer %+v, %v", resp.ProtoMajor, a, err)
	}
	if log := s.Log(); log[0].Path != "/q" || log[0].Conn != 1 || log[0].Header.Get("Content-Type") == "" {
		t.Errorf("log %+v", log[0])
	}
}

func TestNetRefusesWhereNobodyListensAndSwallowsInABlackhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n dnstest.Net
		if _, err := n.DialAddr(t.Context(), at); err == nil {
			t.Error("a dial to nobody succeeded")
		}
		n.Listen(at)
		n.Blackhole(at, true)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := n.DialAddr(ctx, at); err == nil || time.Since(start) != time.Minute {
			t.Errorf("the blackhole gave %v after %v", err, time.Since(start))
		}
	})
}

func TestPipeKeepsOctetsForAReaderThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := dnstest.Pipe(at, at)
		a.Write([]byte("later"))
		a.Close()
		got, err := io.ReadAll(b)
		if string(got) != "later" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("writing to a closed end succeeded")
		}
		c, d := dnstest.Pipe(at, at)
		defer d.Close()
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the deadline did not end the read")
		}
	})
}
