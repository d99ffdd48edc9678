package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"
)

// framed gives messages with their lengths in front.
func framed(list ...[]byte) []byte {
	var b []byte
	for _, m := range list {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return b
}

func readFramed(t testing.TB, r io.Reader) *miekg.Msg {
	t.Helper()
	b, err := readFrame(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b)
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// onPipe serves one connection in memory. It gives the client's end, and a channel that is closed when the door has
// ended the connection.
func onPipe(t testing.TB, d *Door, draining ctx) (net.Conn, <-chan struct{}) {
	t.Helper()
	client, server := net.Pipe()
	s := d.newServing(draining)
	done := make(chan struct{})
	if !s.enter() {
		t.Fatal("the door serves nobody")
	}
	go func() {
		defer close(done)
		s.newStream(server, here(TCP)).serve()
		_ = server.Close()
		s.leave()
		s.end()
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client, done
}

func TestQueriesOfOneConnectionAreAnsweredAsTheAnswersCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hold: make(chan struct{})}
		c, _ := onPipe(t, newDoor(t, Options{Handler: z}), t.Context())
		send(t, c, framed(query(t, "slow.example.", miekg.TypeA, nil), query(t, "www.example.", miekg.TypeA, nil), query(t, "missing.example.", miekg.TypeA, nil)))
		names := []string{readFramed(t, c).Question[0].Name, readFramed(t, c).Question[0].Name}
		slices.Sort(names)
		if !slices.Equal(names, []string{"missing.example.", "www.example."}) {
			t.Errorf("the first replies are to %v", names)
		}
		close(z.hold)
		if m := readFramed(t, c); m.Question[0].Name != "slow.example." {
			t.Errorf("%v", m)
		}
	})
}

func TestAConnectionIsReadNoFurtherThanItsQueriesMayBeMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hold: make(chan struct{}), asked: make(chan Query, 100)}
		d := newDoor(t, Options{Handler: z, Pipeline: 3})
		c, _ := onPipe(t, d, t.Context())
		var all []byte
		for range 50 {
			all = append(all, framed(query(t, "slow.example.", miekg.TypeA, nil))...)
		}
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(all)
			written <- err
		}()
		synctest.Wait()
		if len(z.asked) != 3 || len(written) != 0 {
			t.Errorf("%d queries are under way, all written: %v", len(z.asked), len(written) == 1)
		}
		close(z.hold)
		for range 50 {
			readFramed(t, c)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

func TestAConnectionThatIsIdleEndsAndOneThatWaitsForAnAnswerDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hold: make(chan struct{})}
		d := newDoor(t, Options{Handler: z, Idle: time.Second, Timeout: time.Hour})
		c, done := onPipe(t, d, t.Context())
		time.Sleep(900 * time.Millisecond)
		send(t, c, framed(query(t, "slow.example.", miekg.TypeA, nil)))
		time.Sleep(10 * time.Minute)
		close(z.hold)
		readFramed(t, c)
		start := time.Now()
		<-done
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("an idle connection stays for %v", waited)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

func TestAMessageThatDoesNotEndIsCutOff(t *testing.T) {
	for name, b := range map[string][]byte{
		"half a length": {0},
		"half a query":  framed(query(t, "www.example.", miekg.TypeA, nil))[:20],
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, Options{Stall: time.Second, Idle: time.Hour})
			c, done := onPipe(t, d, t.Context())
			send(t, c, b)
			start := time.Now()
			<-done
			if took := time.Since(start); took != time.Second || d.Stats().CutOff != 1 {
				t.Errorf("%s: ended after %v: %+v", name, took, d.Stats())
			}
		})
	}
}

func TestAClientThatTakesNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{Stall: time.Second, Idle: time.Hour})
		c, done := onPipe(t, d, t.Context())
		send(t, c, framed(query(t, "www.example.", miekg.TypeA, nil)))
		start := time.Now()
		<-done
		if took := time.Since(start); took != time.Second || d.Stats().CutOff != 1 {
			t.Errorf("ended after %v: %+v", took, d.Stats())
		}
	})
}

func TestWhatIsNoQueryEndsTheConnectionAfterTheAnswersThatAreOwed(t *testing.T) {
	for name, bad := range map[string][]byte{
		"nothing": {},
		"a reply": query(t, "www.example.", miekg.TypeA, func(m *miekg.Msg) { m.Response = true }),
	} {
		synctest.Test(t, func(t *testing.T) {
			z := &zone{hold: make(chan struct{})}
			c, done := onPipe(t, newDoor(t, Options{Handler: z}), t.Context())
			send(t, c, framed(query(t, "slow.example.", miekg.TypeA, nil), bad))
			synctest.Wait()
			close(z.hold)
			if m := readFramed(t, c); len(m.Answer) != 1 {
				t.Errorf("%s: %v", name, m)
			}
			<-done
		})
	}
}

func TestAConnectionTellsForHowLongItStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := contextWithCancel(t)
		z := &zone{hold: make(chan struct{})}
		d := newDoor(t, Options{Handler: z, Idle: 20 * time.Second, Drain: time.Minute})
		c, done := onPipe(t, d, draining)
		ask := query(t, "www.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_TCP_KEEPALIVE{Code: miekg.EDNS0TCPKEEPALIVE}))
		send(t, c, framed(ask))
		if o, ok := option[*miekg.EDNS0_TCP_KEEPALIVE](readFramed(t, c)); !ok || o.Timeout != 200 {
			t.Errorf("%v", o)
		}
		send(t, c, framed(query(t, "www.example.", miekg.TypeA, edns(1232))))
		if o, ok := option[*miekg.EDNS0_TCP_KEEPALIVE](readFramed(t, c)); ok {
			t.Errorf("nobody asked for %v", o)
		}
		send(t, c, framed(query(t, "slow.example.", miekg.TypeA, nil)))
		synctest.Wait()
		drain()
		synctest.Wait()
		select {
		case <-done:
			t.Error("a query under way was not waited for")
		default:
		}
		close(z.hold)
		readFramed(t, c)
		<-done
	})
	if m := ask(t, newDoor(t, Options{}), here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_TCP_KEEPALIVE{Code: miekg.EDNS0TCPKEEPALIVE}))); m.IsEdns0() == nil || len(m.IsEdns0().Option) != 0 {
		t.Errorf("by UDP: %v", m)
	}
}

func TestTheTimeToDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := contextWithCancel(t)
		d := newDoor(t, Options{Handler: &zone{}, Drain: time.Minute, Timeout: time.Hour})
		s := d.newServing(draining)
		if !s.enter() {
			t.Fatal("the door serves nobody")
		}
		go func() {
			<-s.ctx.Done()
			s.leave()
		}()
		drain()
		start := time.Now()
		s.end()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		if s.enter() {
			t.Error("it goes on after its end")
		}
	})
}

func listenTCP(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dialTCP(t testing.TB, l net.Listener) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func TestAClientThatEndsItsOwnSideGetsWhatItAskedFor(t *testing.T) {
	z := &zone{hold: make(chan struct{}), asked: make(chan Query, 3)}
	d := newDoor(t, Options{Handler: z})
	l := listenTCP(t)
	run(t, func(ctx ctx) error { return d.ServeTCP(ctx, l) })
	c := dialTCP(t, l)
	large := query(t, "slow-large.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_LOCAL{Code: 65001, Data: bytes.Repeat([]byte("x"), 60000)}))
	send(t, c, framed(query(t, "slow.example.", miekg.TypeA, nil), large))
	_ = c.CloseWrite()
	<-z.asked
	<-z.asked
	close(z.hold)
	readFramed(t, c)
	readFramed(t, c)
	if _, err := readFrame(c); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestConnectionsOverTheLimitAndOfStrangersAreClosed(t *testing.T) {
	d := newDoor(t, Options{Connections: 1})
	l := listenTCP(t)
	run(t, func(ctx ctx) error { return d.ServeTCP(ctx, l) })
	first := dialTCP(t, l)
	send(t, first, framed(query(t, "www.example.", miekg.TypeA, nil)))
	readFramed(t, first)
	second := dialTCP(t, l)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection is served")
	}
	if s := d.Stats(); s.Busy != 1 || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
	first.Close()
	waitFor(t, func() bool { return d.Stats().Connections == 0 })
	third := dialTCP(t, l)
	send(t, third, framed(query(t, "www.example.", miekg.TypeA, nil)))
	readFramed(t, third)

	strict := newDoor(t, Options{PlainClients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	l2 := listenTCP(t)
	run(t, func(ctx ctx) error { return strict.ServeTCP(ctx, l2) })
	if _, err := dialTCP(t, l2).Read(make([]byte, 1)); err == nil || strict.Stats().Strangers != 1 {
		t.Errorf("%v: %+v", err, strict.Stats())
	}
}

func TestManyConnectionsAreServedAndNothingRunsAfterTheEnd(t *testing.T) {
	d := newDoor(t, Options{})
	l := listenTCP(t)
	stop := run(t, func(ctx ctx) error { return d.ServeTCP(ctx, l) })
	var clients sync.WaitGroup
	for i := range 20 {
		c := dialTCP(t, l)
		clients.Go(func() {
			for j := range 20 {
				host := fmt.Sprintf("n%d-%d.example.", i, j)
				_, _ = c.Write(framed(query(t, host, miekg.TypeA, nil)))
				b, err := readFrame(c)
				if err != nil || read(t, b).Question[0].Name != host {
					t.Error(host, err)
				}
			}
		})
	}
	clients.Wait()
	stop()
	if s := d.Stats(); s.Connections != 0 || s.Waiting != 0 || s.Queries["tcp"] != 400 {
		t.Errorf("%+v", s)
	}
}
