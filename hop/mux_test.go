package hop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
)

func TestManyTunnelsTravelOnOneConnection(t *testing.T) {
	h := newH2(t)
	c := h.chain(t, "h2://u:p@gw.example")
	var tunnels []net.Conn
	for _, target := range []string{"a.example:443", "192.0.2.7:443", "[2001:db8::7]:443", "a.example:443"} {
		tunnels = append(tunnels, dialed(t, c, target))
	}
	for i, conn := range tunnels {
		hears(t, conn, fmt.Sprint("tunnel ", i))
	}
	if h.connections() != 1 {
		t.Errorf("%d connections for %d tunnels", h.connections(), len(tunnels))
	}
	want := "CONNECT a.example:443 Basic dTpw, CONNECT 192.0.2.7:443 Basic dTpw, CONNECT [2001:db8::7]:443 Basic dTpw, CONNECT a.example:443 Basic dTpw"
	if got := strings.Join(h.asked, ", "); got != want {
		t.Errorf("the proxy was asked %s", got)
	}
	other := h.chain(t)
	hears(t, dialed(t, other, "a.example:443"), "another chain")
	if h.connections() != 2 {
		t.Errorf("another chain's tunnel shares the connection: %d", h.connections())
	}
}

func TestTunnelsThatAreAskedForAtOnceShareAConnectionUpToWhatTheProxyTakes(t *testing.T) {
	h := newH2(t)
	h.server.HTTP2.MaxConcurrentStreams = 4
	c := h.chain(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			conn, err := c.Dial(t.Context(), name.Must("a.example:443"))
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
			hears(t, conn, "hello")
		})
	}
	wg.Wait()
	if h.connections() != 3 {
		t.Errorf("%d connections for 10 tunnels, where each takes 4", h.connections())
	}
}

func TestOneTunnelsSlownessEndOrResetIsNoOthers(t *testing.T) {
	h := newH2(t)
	h.at["flood.example:443"] = func(conn net.Conn) {
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Host != "reset.example:443" {
			return false
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		_, _ = r.Body.Read(make([]byte, 1))
		panic(http.ErrAbortHandler)
	}
	c := h.chain(t)
	flood := dialed(t, c, "flood.example:443") // nobody reads it: its window fills
	kept := dialed(t, c, "a.example:443")
	reset := dialed(t, c, "reset.example:443")
	hears(t, kept, "while another is full")
	_, _ = reset.Write([]byte("x"))
	if _, err := io.ReadAll(reset); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset reads as %v", err)
	}
	hears(t, kept, "after another's end")
	flood.Close()
	reset.Close()
	hears(t, kept, "after another was closed")
	if _, err := flood.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed tunnel reads as %v", err)
	}
	if h.connections() != 1 {
		t.Errorf("%d connections", h.connections())
	}
}

func TestEitherDirectionOfATunnelEndsByItself(t *testing.T) {
	h := newH2(t)
	h.at["count.example:443"] = func(conn net.Conn) { // speaks after the end of what it hears
		all, _ := io.ReadAll(conn)
		_, _ = fmt.Fprintf(conn, "%d octets", len(all))
	}
	c := h.chain(t)
	conn := dialed(t, c, "count.example:443")
	if _, err := conn.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != fmt.Sprintf("%d octets", 3<<20) || err != nil {
		t.Errorf("back came %q, %v", got, err)
	}
}

func TestWhatIsSentAfterTheFarSidesEndArrives(t *testing.T) {
	heard := make(chan string, 1)
	h := newH2(t)
	config := h.p.serverConfig("gw.example")
	config.NextProtos = []string{"h2"}
	h.at["gw.example:443"] = h.p.overTLS(config, func(conn net.Conn) { heard <- endsFirst(t, conn) })
	conn := dialed(t, h.chain(t), "a.example:443")
	if got, err := io.ReadAll(conn); string(got) != "bye" || err != nil {
		t.Errorf("the end of the far side reads as %q, %v", got, err)
	}
	if _, err := io.WriteString(conn, "still heard"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := <-heard; got != "still heard" {
		t.Errorf("after its own end the far side heard %q", got)
	}
}

func TestATunnelThatIsClosedBeforeItsEndIsResetAndNotEnded(t *testing.T) {
	heard := make(chan error, 1)
	h := newH2(t)
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		_, err := io.ReadAll(r.Body)
		heard <- err
		return true
	}
	c := h.chain(t)
	conn := dialed(t, c, "a.example:443")
	if _, err := io.WriteString(conn, "half of a messa"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-heard; err == nil {
		t.Error("to the far side it is a clean end")
	}
}

func TestDeadlinesOfATunnelAreItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t)
		h.at["mute.example:443"] = silent
		h.at["deaf.example:443"] = func(net.Conn) { select {} }
		c := h.chain(t)
		mute, kept := dialed(t, c, "mute.example:443"), dialed(t, c, "a.example:443")
		start := time.Now()
		_ = mute.SetReadDeadline(start.Add(time.Second))
		if _, err := mute.Read(make([]byte, 1)); !isTimeout(err) || time.Since(start) != time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		_ = mute.SetDeadline(longAgo)
		if _, err := mute.Write([]byte("x")); !isTimeout(err) {
			t.Errorf("write: %v", err)
		}
		_ = mute.SetDeadline(time.Time{})
		if _, err := mute.Write([]byte("x")); err != nil {
			t.Errorf("after the deadline was lifted: %v", err)
		}
		hears(t, kept, "not held up")
		kept.Close()
		mute.Close()
		c.Close()
	})
}

func TestAConnectionThatEndsIsReplacedForTheNextTunnel(t *testing.T) {
	for title, end := range map[string]func(h *h2Proxy){
		"it broke": func(h *h2Proxy) { h.conns[0].Close() },
		"GOAWAY":   func(*h2Proxy) {}, // it came with the answer
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newH2(t)
				h.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
					if title == "GOAWAY" && h.connections() == 1 {
						w.Header().Set("Connection", "close")
					}
					return false
				}
				c := h.chain(t)
				first := dialed(t, c, "a.example:443")
				hears(t, first, "on the first connection")
				end(h)
				synctest.Wait()
				second := dialed(t, c, "a.example:443")
				hears(t, second, "on the second")
				if title == "GOAWAY" {
					hears(t, first, "what there was goes on")
				} else if _, err := first.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("a tunnel on a broken connection reads as %v", err)
				}
				if h.connections() != 2 {
					t.Errorf("%d connections", h.connections())
				}
				first.Close()
				second.Close()
				c.Close()
			})
		})
	}
}

// halting is a connection whose other end can fall silent, as one does whose path has died.
type halting struct {
	net.Conn
	halted atomic.Bool
}

func (h *halting) Write(b []byte) (int, error) {
	if h.halted.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

// halting lets every connection of the proxy fall silent when it is told to, and gives those that there were.
func (h *h2Proxy) halting() func() []*halting {
	var mu sync.Mutex
	var paths []*halting
	serve := h.at["gw.example:443"]
	h.at["gw.example:443"] = func(conn net.Conn) {
		p := &halting{Conn: conn}
		mu.Lock()
		paths = append(paths, p)
		mu.Unlock()
		serve(p)
	}
	return func() []*halting {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(paths)
	}
}

func TestWhatWasAskedOnAConnectionThatDiedInSilenceIsAskedOnAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t)
		paths := h.halting()
		c := h.chain(t)
		first := dialed(t, c, "a.example:443")
		hears(t, first, "while it lives")
		paths()[0].halted.Store(true)
		start := time.Now()
		second := dialed(t, c, "a.example:443")
		hears(t, second, "on another connection")
		if time.Since(start) > muxPing+muxPong || len(paths()) != 2 {
			t.Errorf("after %v, on %d connections", time.Since(start), len(paths()))
		}
		if _, err := first.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a tunnel of the dead connection reads as %v", err)
		}
		first.Close()
		second.Close()
		c.Close()
	})
}

func TestWhereAllConnectionsDiedATunnelIsOpenedOnANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t)
		h.server.HTTP2.MaxConcurrentStreams = 1
		paths := h.halting()
		c := h.chain(t)
		var tunnels []net.Conn
		for range 3 {
			tunnels = append(tunnels, dialed(t, c, "a.example:443"))
		}
		for _, conn := range tunnels {
			conn.Close()
			synctest.Wait() // there is room on each
		}
		time.Sleep(muxPing + time.Second) // all of them answered
		paths()[0].halted.Store(true)
		time.AfterFunc(muxPing+time.Second, func() { // and those that were asked again answer once more
			for _, p := range paths() {
				p.halted.Store(true)
			}
		})
		hears(t, dialed(t, c, "a.example:443"), "on the fourth")
		if len(paths()) != 4 {
			t.Errorf("%d connections", len(paths()))
		}
		c.Close()
	})
}

func TestADestinationThatNeverAnswersIsNotTheConnectionsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t)
		h.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Host == "slow.example:443" {
				<-r.Context().Done()
			}
			return false
		}
		c := h.chain(t)
		hears(t, dialed(t, c, "a.example:443"), "x")
		for range 3 {
			_, err := c.Dial(t.Context(), name.Must("slow.example:443"))
			if f := fault.Of(err); f.Code != fault.ConnectTimeout || !strings.Contains(f.Message, "did not connect in time") {
				t.Errorf("got %v", err)
			}
		}
		hears(t, dialed(t, c, "a.example:443"), "x")
		if h.connections() != 1 {
			t.Errorf("%d connections", h.connections())
		}
		c.Close()
	})
}

func TestAnUnusedConnectionIsClosed(t *testing.T) {
	for title, use := range map[string]func(t *testing.T, c *Chained){
		"after a while":              func(*testing.T, *Chained) { time.Sleep(bookIdle + time.Second) },
		"when the way out is closed": func(_ *testing.T, c *Chained) { c.Close() },
		"when it is to link no more": func(_ *testing.T, c *Chained) { c.Forget() },
		"after the last of its tunnels": func(t *testing.T, c *Chained) {
			conn := dialed(t, c, "a.example:443")
			c.Close()
			hears(t, conn, "it goes on")
			if _, err := c.Dial(t.Context(), name.Must("a.example:443")); fault.Of(err).Code != fault.Internal {
				t.Errorf("a closed way out dialled: %v", err)
			}
			conn.Close()
		},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newH2(t)
				c := h.chain(t)
				dialed(t, c, "a.example:443").Close()
				use(t, c)
				synctest.Wait()
				if n := len(c.links[0].mux.conns); n != 0 || h.connections() != 1 {
					t.Errorf("%d of %d connections are kept", n, h.connections())
				}
			})
		})
	}
}
