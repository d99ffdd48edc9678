package socksproxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"watertight/event"
	"watertight/gate"
	"watertight/name"
	"watertight/route"
)

// guestOf makes a guest of a connection; everyone is let in.
func guestOf(conn *net.TCPConn) *gate.Guest { return gate.NewGuest(conn, gate.NewKeeper(), gate.Open) }

// inside is what stands behind a door in tests. Every target is one origin, or an error.
type inside struct {
	origin  string // where every name leads; empty for err
	packets string // where every datagram goes; empty for a way out that carries none
	refused name.Target
	err     error
	addrs   []netip.Addr
	ptr     string
	hold    func(context.Context) error // waits before anything is dialled

	mu       sync.Mutex
	asked    []route.Request
	reversed []netip.Addr
	events   []event.Request
	tunnels  []event.Tunnel
}

func (in *inside) remember(r route.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asked = append(in.asked, r)
}

func (in *inside) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	in.remember(r)
	if in.hold != nil {
		if err := in.hold(ctx); err != nil {
			return nil, err
		}
	}
	if in.err != nil {
		return nil, in.err
	}
	return net.Dial("tcp", in.origin)
}

func (in *inside) Resolve(_ context.Context, r route.Request) ([]netip.Addr, error) {
	in.remember(r)
	return in.addrs, in.err
}

func (in *inside) ResolvePTR(_ context.Context, r route.Request) (string, error) {
	addr, _ := r.Target.Host().Addr()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reversed = append(in.reversed, addr)
	return in.ptr, in.err
}

func (in *inside) Request(e *event.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.events = append(in.events, *e)
}

func (in *inside) Tunnel(e *event.Tunnel) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tunnels = append(in.tunnels, *e)
}

func (in *inside) Lookup(*event.Lookup) {}

// relay copies both ways and keeps half-closes.
func (in *inside) relay(_ context.Context, client, server net.Conn) (up, down int64, err error) {
	done := make(chan int64)
	go func() {
		n, _ := io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
		done <- n
	}()
	down, err = io.Copy(client, server)
	_ = client.(interface{ CloseWrite() error }).CloseWrite()
	return <-done, down, err
}

func (in *inside) lastAsked(t *testing.T) route.Request {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.asked) == 0 {
		t.Fatal("nothing was asked for")
	}
	return in.asked[len(in.asked)-1]
}

// listen serves conns on a loopback port until the test ends, and waits for them.
func listen(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

func echoOrigin(t *testing.T) string {
	return listen(t, func(conn *net.TCPConn) {
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	})
}

func newDoor(t *testing.T, in *inside, handshake time.Duration) *Door {
	t.Helper()
	d, err := New(Options{Dialer: in, Packets: in, Resolver: in, Relay: in.relay, Sink: in, Handshake: handshake})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// open serves a door and gives a connection to it.
func open(t *testing.T, in *inside, headLen int) *net.TCPConn {
	t.Helper()
	door := newDoor(t, in, 0)
	at := listen(t, func(conn *net.TCPConn) {
		head := make([]byte, headLen)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Error(err)
		}
		door.ServeConn(context.Background(), guestOf(conn), head)
	})
	return dial(t, at)
}

func dial(t *testing.T, at string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // only so that a broken test ends
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if string(got[:n]) != want {
		t.Fatalf("heard %x, %v; want %x", got[:n], err, want)
	}
}

// expectEnd wants a clean end of the stream, no reset.
func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("after the reply: %x, %v", rest, err)
	}
}
