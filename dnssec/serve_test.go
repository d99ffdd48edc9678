package dnssec

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// serve answers on a loopback address as the world's resolver does, over UDP and TCP, until the test ends.
func (w *world) serve(t *testing.T) netip.AddrPort {
	t.Helper()
	var stream net.Listener
	var packets net.PacketConn
	for range 20 { // one port for both
		var err error
		if stream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			break
		}
		_ = stream.Close()
	}
	if packets == nil {
		t.Fatal("no port for UDP and TCP")
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _, _ = packets.Close(), stream.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(w.respond(buf[:n]), from)
		}
	})
	wg.Go(func() {
		for {
			conn, err := stream.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				var size [2]byte
				for {
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					query := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(conn, query); err != nil {
						return
					}
					b := w.respond(query)
					_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
				}
			})
		}
	})
	return stream.Addr().(*net.TCPAddr).AddrPort()
}

// respond answers one query; with nothing where it is none.
func (w *world) respond(b []byte) []byte {
	var query dns.Msg
	if query.Unpack(b) != nil || len(query.Question) != 1 {
		return nil
	}
	q := dnswire.Question{Name: dnswire.CanonicalName(query.Question[0].Name), Type: dnswire.Type(query.Question[0].Qtype)}
	m := w.reply(q)
	if w.tamper != nil {
		w.tamper(q, m)
	}
	m.Id, m.Question = query.Id, query.Question
	m.SetEdns0(4096, true)
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
