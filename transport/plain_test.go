package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

// inside is a network inside a tunnel, with a name service in clear text.
type inside struct {
	dnstest.Net
	server *dnstest.Server
	client *transport.Client
}

var insideAt = netip.MustParseAddrPort("10.2.0.1:53")

// outside leads nowhere: what is asked inside a tunnel never takes it.
func outside(t *testing.T) transport.Dial {
	return func(context.Context, netip.AddrPort) (net.Conn, error) {
		t.Error("the way out of clients was taken")
		return nil, errors.New("no")
	}
}

func newInside(t *testing.T, h dnstest.Handler) *inside {
	t.Helper()
	in := &inside{}
	in.server = dnstest.ServePlain(in.ListenPacket(insideAt), in.Listen(insideAt), h)
	u, err := upstream.Spec{URL: "udp://10.2.0.1", Tunnel: true}.Build()
	if err != nil {
		t.Fatal(err)
	}
	in.client, err = transport.New(u, transport.Options{
		Way: transport.Way{Dial: outside(t), DialPacket: outside(t), Plain: in.DialAddr, PlainPacket: in.DialPacketAddr},
		Now: time.Now, Timeout: 5 * time.Second, IdleTimeout: time.Minute, Records: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *inside) close() {
	in.client.Close()
	in.server.Close()
}

var hostZone = dnstest.Zone{"www.example.com. 60 A 192.0.2.80"}

func TestPlainDNSIsAskedInsideATunnelWithAPortAndAnIDForEachQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInside(t, hostZone.Handler())
		defer in.close()
		for range 8 {
			a, fail := exchange(t, in.client, "www.example.com")
			if fail != nil || len(a.Addrs()) != 1 {
				t.Fatalf("got %v, %v", a, fail)
			}
		}
		var ports, ids []string
		for _, q := range in.server.Log() {
			if q.Transport != dnstest.PlainUDP {
				t.Errorf("a question came over %s", q.Transport)
			}
			ports = append(ports, q.Client.String())
			ids = append(ids, string(q.Raw[:2]))
		}
		for _, of := range [][]string{ports, ids} {
			slices.Sort(of)
			if len(slices.Compact(of)) < 7 { // two of 8 numbers of 16 bits are the same once in 2000 runs, three hardly ever
				t.Errorf("questions share a port or an ID: %q", of)
			}
		}
	})
}

func TestPlainDNSIsAskedOverTCPWhereAnAnswerDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := hostZone.Handler()
		in := newInside(t, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Transport == dnstest.PlainUDP {
				return dnstest.Truncated(zone)(ctx, q)
			}
			return zone(ctx, q)
		})
		defer in.close()
		a, fail := exchange(t, in.client, "www.example.com")
		if fail != nil || len(a.Addrs()) != 1 {
			t.Fatalf("got %v, %v", a, fail)
		}
		if log := in.server.Log(); len(log) != 2 || log[1].Transport != dnstest.PlainTCP {
			t.Errorf("the questions were %+v", log)
		}
	})
}

func TestWhatIsNoAnswerOfPlainDNSIsPassedOverAndALostQuestionIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone, asked := hostZone.Handler(), 0
		var mu sync.Mutex
		in := newInside(t, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			mu.Lock()
			asked++
			n := asked
			mu.Unlock()
			switch n {
			case 1:
				return dnstest.WrongID(zone)(ctx, q)
			case 2:
				return dnstest.WrongQuestion(ctx, q)
			case 3:
				return dnstest.Silent(ctx, q)
			}
			return zone(ctx, q)
		})
		defer in.close()
		a, fail := exchange(t, in.client, "www.example.com")
		if fail != nil || len(a.Addrs()) != 1 {
			t.Fatalf("got %v, %v", a, fail)
		}
	})
}

func TestSomebodyWhoGuessesAtAnswersOfPlainDNSDrivesItToTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in dnstest.Net
		socket := in.ListenPacket(insideAt)
		server := dnstest.ServePlain(in.ListenPacket(netip.MustParseAddrPort("10.2.0.1:54")), in.Listen(insideAt), hostZone.Handler())
		defer server.Close()
		defer socket.Close()
		go func() {
			b := make([]byte, 4096)
			for {
				n, from, err := socket.ReadFrom(b)
				if err != nil {
					return
				}
				forged := append([]byte(nil), b[:n]...)
				forged[2] |= 0x80
				for i := range uint16(64) { // none of them is the ID
					binary.BigEndian.PutUint16(forged, binary.BigEndian.Uint16(b)+1+i)
					_, _ = socket.WriteTo(forged, from)
				}
			}
		}()
		u, err := upstream.Spec{URL: "udp://10.2.0.1", Tunnel: true}.Build()
		if err != nil {
			t.Fatal(err)
		}
		c, err := transport.New(u, transport.Options{
			Way: transport.Way{Dial: outside(t), DialPacket: outside(t), Plain: in.DialAddr, PlainPacket: in.DialPacketAddr},
			Now: time.Now, Timeout: 5 * time.Second, IdleTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, fail := exchange(t, c, "www.example.com")
		if fail != nil || len(a.Addrs()) != 1 {
			t.Fatalf("got %v, %v", a, fail)
		}
		if log := server.Log(); len(log) != 1 || log[0].Transport != dnstest.PlainTCP {
			t.Errorf("the questions were %+v", log)
		}
	})
}

func TestASilentServerOfPlainDNSIsATimeoutAndNobodyElseIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInside(t, dnstest.Silent)
		defer in.close()
		_, fail := exchange(t, in.client, "www.example.com")
		if fail == nil || fail.Fault.Code != fault.DNSTimeout {
			t.Errorf("got %v", fail)
		}
		for _, to := range in.Dials() {
			if to != insideAt {
				t.Errorf("%v was dialled", to)
			}
		}
	})
}

func TestPlainDNSWithoutAWayInsideATunnelIsRefused(t *testing.T) {
	u, err := upstream.Spec{URL: "udp://10.2.0.1", Tunnel: true}.Build()
	if err != nil {
		t.Fatal(err)
	}
	var in dnstest.Net
	for what, way := range map[string]transport.Way{
		"an ordinary way":     {Dial: in.DialAddr, DialPacket: in.DialPacketAddr},
		"connections alone":   {Dial: in.DialAddr, DialPacket: in.DialPacketAddr, Plain: in.DialAddr},
		"datagrams alone":     {Dial: in.DialAddr, DialPacket: in.DialPacketAddr, PlainPacket: in.DialPacketAddr},
		"no datagrams at all": {Dial: in.DialAddr},
	} {
		c, err := transport.New(u, transport.Options{Way: way, Now: time.Now, Timeout: time.Second, IdleTimeout: time.Minute})
		if !errors.Is(err, transport.ErrPlain) || c != nil {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
