package dns

import (
	"net"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"watertight/dnswire"
)

func TestOfManyDatagramsAtOnceEachClientGetsItsOwnReply(t *testing.T) {
	z := &remembering{known: "known"}
	d := newDoor(t, Options{Handler: z})
	conn := listenUDP(t)
	var clients [2 * batch]net.Conn
	for i := range clients { // they wait in the socket, and more than one batch
		clients[i] = dialUDP(t, conn)
		host := "known.example."
		if i%3 == 0 {
			host = "www.example." // another goroutine's, while the batch goes on
		}
		send(t, clients[i], query(t, host, miekg.TypeA, func(m *miekg.Msg) { m.Id = uint16(1000 + i) }))
	}
	run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	for i, c := range clients {
		if m := receive(t, c); m.Id != uint16(1000+i) || len(m.Answer) != 1 || (m.Question[0].Name == "www.example.") != (i%3 == 0) {
			t.Errorf("client %d: %v", i, m)
		}
	}
}

func TestAReplyThatCannotBeSentDoesNotHoldUpTheOthers(t *testing.T) {
	conn := listenUDP(t)
	defer conn.Close()
	c := dialUDP(t, conn)
	good := c.LocalAddr().(*net.UDPAddr)
	bad := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")) // nothing can be sent there
	r := newPacketReader(datagrams{UDPConn: conn, batches: ipv4.NewPacketConn(conn)})
	for i, to := range []*net.UDPAddr{bad, good, bad, bad, good, bad} {
		r.out = append(r.out, ipv4.Message{Buffers: [][]byte{{byte(i)}}, Addr: to})
	}
	r.send()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for _, want := range []byte{1, 4} {
		var b [2]byte
		if n, err := c.Read(b[:]); err != nil || n != 1 || b[0] != want {
			t.Errorf("%d octets, %d, %v; want %d", n, b[0], err, want)
		}
	}
}

// knowing is a handler that knows one answer.
type knowing struct {
	zone
	answer *dnswire.Answer
}

func (k *knowing) Cached(Client, Query) (*dnswire.Answer, bool) { return k.answer, true }

// BenchmarkDatagramsAnsweredAtOnce has 64 queries under way, all of them for what the handler knows.
func BenchmarkDatagramsAnsweredAtOnce(b *testing.B) {
	d := newDoor(b, Options{Handler: &knowing{answer: made(dnswire.Question{Name: "known.example", Type: dnswire.A}, 0, "known.example. 300 IN A 192.0.2.2")}})
	conn := listenUDP(b)
	run(b, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(b, conn)
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
	q := query(b, "known.example.", miekg.TypeA, nil)
	in := make([]byte, 512)
	b.ReportAllocs()
	sent := 0
	for got := range b.N {
		for ; sent < b.N && sent < got+64; sent++ {
			send(b, c, q)
		}
		if _, err := c.Read(in); err != nil {
			b.Fatal(err)
		}
	}
}
