package channel

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/resolve"
	"watertight/upstream"
	"watertight/wire"
)

func TestMain(m *testing.M) {
	wire.Seal()
	code := m.Run()
	if wire.Trapped() != 0 {
		println("the host's resolver was asked", wire.Trapped(), "times")
		code = 1
	}
	os.Exit(code)
}

var (
	resolverAt = netip.MustParseAddrPort("9.9.9.9:853")
	anyAddress = func(netip.Addr) error { return nil }
)

// world is an internet in memory: a resolver over TLS, and whatever a test listens on.
type world struct {
	net dnstest.Net
	ca  *dnstest.CA
	dns *dnstest.Server
	dir string

	mu   sync.Mutex
	told []string // what the proxies were told of who asks: USER:PASSWORD TARGET
}

func newWorld(t *testing.T, zone dnstest.Zone) *world {
	w := &world{ca: dnstest.NewCA(), dir: t.TempDir()}
	cert := w.ca.Issue(nil, []netip.Addr{resolverAt.Addr()})
	w.dns = dnstest.ServeDoT(w.net.Listen(resolverAt), cert, zone.Handler())
	t.Cleanup(func() { w.dns.Close() })
	return w
}

func (w *world) resolver(t *testing.T, url string) resolve.Options {
	t.Helper()
	file := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(file, w.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := upstream.Spec{URL: url, CA: file}.Build()
	if err != nil {
		t.Fatal(err)
	}
	return resolve.Options{Channel: "test", Upstreams: []upstream.Upstream{u}, CacheOctets: 1 << 20, Sink: event.Discard{}}
}

// open opens a channel and runs it until the test ends.
func (w *world) open(t *testing.T, s Spec, below Below) *Channel {
	t.Helper()
	c, err := Open(s, below)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = c.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done; c.Close() })
	return c
}

func (w *world) direct(t *testing.T) *Channel {
	return w.open(t, Spec{Name: "direct", Resolver: w.resolver(t, "tls://9.9.9.9")}, OnGround(&w.net))
}

// greet answers every connection at an address with a word and closes it.
func (w *world) greet(t *testing.T, at, word string) {
	l := w.net.Listen(netip.MustParseAddrPort(at))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.WriteString(conn, word); conn.Close() }()
		}
	}()
}

func mustGreet(t *testing.T, conn net.Conn, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); string(got) != want {
		t.Fatalf("the far side said %q (%v), want %q", got, err, want)
	}
}

func codeOf(err error) fault.Code {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

func TestANameIsResolvedInsideTheChannelAndItsAddressDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"api.example.com. 60 A 203.0.113.7"})
		w.greet(t, "203.0.113.7:443", "api")
		c := w.direct(t)
		conn, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "api")
		for _, to := range w.net.Dials() {
			if to != resolverAt && to.String() != "203.0.113.7:443" {
				t.Errorf("something else was dialled: %v", to)
			}
		}
	})
}

func TestAnAddressThatIsRefusedIsNeverDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"both.example.com. 60 A 10.0.0.1", "both.example.com. 60 A 203.0.113.7", "bad.example.com. 60 A 10.0.0.1"})
		w.greet(t, "203.0.113.7:443", "good")
		w.greet(t, "10.0.0.1:443", "bad")
		c := w.direct(t)
		check := func(a netip.Addr) error {
			if a.IsPrivate() {
				return fault.New(fault.PolicyPrivateTarget, "private", nil)
			}
			return nil
		}
		conn, err := c.DialChecked(t.Context(), name.Must("both.example.com:443"), check)
		mustGreet(t, conn, err, "good")
		for _, target := range []string{"bad.example.com:443", "10.0.0.1:443"} {
			if _, err := c.DialChecked(t.Context(), name.Must(target), check); codeOf(err) != fault.PolicyPrivateTarget {
				t.Errorf("%s: %v", target, err)
			}
		}
		if slices.Contains(w.net.Dials(), netip.MustParseAddrPort("10.0.0.1:443")) {
			t.Error("the refused address was dialled")
		}
	})
}

func TestFailuresOfALookupAreFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"text.example.com. 60 TXT hello"})
		c := w.direct(t)
		for target, want := range map[string]fault.Code{
			"none.example.com:443": fault.DNSNXDomain,
			"text.example.com:443": fault.DNSNoData,
		} {
			if _, err := c.DialChecked(t.Context(), name.Must(target), anyAddress); codeOf(err) != want {
				t.Errorf("%s: %v, want %s", target, err, want)
			}
		}
		w.dns.Handle(dnstest.RCode(2))
		if _, err := c.DialChecked(t.Context(), name.Must("fails.example.com:443"), anyAddress); codeOf(err) != fault.DNSServFail {
			t.Errorf("SERVFAIL gave %v", err)
		}
		for _, to := range w.net.Dials() {
			if to != resolverAt {
				t.Errorf("something but the resolver was dialled: %v", to)
			}
		}
	})
}

func TestAChannelThatIsNotReadyRefusesAfterAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"api.example.com. 60 A 203.0.113.7"})
		w.dns.Handle(dnstest.Silent)
		c := w.direct(t)
		_, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		if codeOf(err) != fault.NotReady {
			t.Fatalf("it gave %v", err)
		}
		w.dns.Handle(dnstest.Zone{"api.example.com. 60 A 203.0.113.7"}.Handler())
		w.greet(t, "203.0.113.7:443", "api")
		<-c.Await()
		conn, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "api")
	})
}

func TestWhoAsksByDNSHearsThatTheChannelIsNotReadyBeforeGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.dns.Handle(dnstest.Silent)
		c := w.direct(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // the time-out of resolv.conf(5), and of dig and kdig
		defer cancel()
		q := dnswire.Question{Name: "api.example.com", Type: dnswire.A}
		if _, err := c.ExchangeGiven(ctx, q, anyAddress); codeOf(err) != fault.NotReady || ctx.Err() != nil {
			t.Errorf("it gave %v, with %v", err, ctx.Err())
		}
		time.AfterFunc(time.Second, func() { w.dns.Handle(dnstest.Zone{"api.example.com. 60 A 203.0.113.7"}.Handler()) })
		if a, err := c.ExchangeGiven(t.Context(), q, anyAddress); err != nil || len(a.Addrs()) != 1 {
			t.Errorf("a question that can be answered in a moment: %v, %v", a, err)
		}
	})
}

func TestASpecialUseNameIsAnsweredBeforeTheChannelIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.dns.Handle(dnstest.Silent)
		c := w.direct(t)
		started := time.Now()
		if _, err := c.DialChecked(t.Context(), name.Must("printer.local:443"), anyAddress); codeOf(err) != fault.DNSNXDomain {
			t.Errorf("it gave %v", err)
		}
		if _, err := c.Lookup(t.Context(), "printer.local"); codeOf(err) != fault.DNSNXDomain {
			t.Errorf("it gave %v", err)
		}
		if _, err := c.Exchange(t.Context(), dnswire.Question{Name: "printer.local", Type: dnswire.TXT}); codeOf(err) == fault.NotReady {
			t.Errorf("it gave %v", err)
		}
		if took := time.Since(started); took != 0 {
			t.Errorf("it waited %v", took)
		}
	})
}

func TestAnUntrustedResolverNeverMakesAChannelReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"api.example.com. 60 A 203.0.113.7"})
		other := dnstest.NewCA()
		impostor := netip.MustParseAddrPort("9.9.9.10:853")
		s := dnstest.ServeDoT(w.net.Listen(impostor), other.Issue(nil, []netip.Addr{impostor.Addr()}), dnstest.Zone{}.Handler())
		defer s.Close()
		c := w.open(t, Spec{Name: "direct", Resolver: w.resolver(t, "tls://9.9.9.10")}, OnGround(&w.net))
		_, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		if codeOf(err) != fault.NotReady || codeOf(c.WhyNotReady()) != fault.ResolverUntrusted {
			t.Errorf("it gave %v; not ready because %v", err, c.WhyNotReady())
		}
		if n := len(s.Log()); n != 0 {
			t.Errorf("the impostor received %d queries", n)
		}
	})
}

// proxy is an HTTP CONNECT proxy in memory that notes what it was asked for, and knows names of its own.
func (w *world) proxy(t *testing.T, at string, names map[string]string) func() []string {
	l := w.net.Listen(netip.MustParseAddrPort(at))
	t.Cleanup(func() { l.Close() })
	asked := make(chan []string, 1)
	asked <- nil
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				line, err := r.ReadString('\n')
				who := ""
				for err == nil {
					var field string
					if field, err = r.ReadString('\n'); strings.TrimSpace(field) == "" {
						break
					}
					if encoded, ok := strings.CutPrefix(field, "Proxy-Authorization: Basic "); ok {
						b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
						who = string(b)
					}
				}
				if err != nil {
					return
				}
				target := strings.Fields(line)[1]
				w.mu.Lock()
				w.told = append(w.told, who+" "+target)
				w.mu.Unlock()
				asked <- append(<-asked, target)
				if to, ok := names[target]; ok {
					target = to
				}
				ap, err := netip.ParseAddrPort(target)
				if err != nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
					return
				}
				far, err := w.net.DialAddr(context.Background(), ap)
				if err != nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
					return
				}
				defer far.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
				go func() { _, _ = io.Copy(far, r); far.Close() }()
				_, _ = io.Copy(conn, far)
			}()
		}
	}()
	return func() []string {
		list := <-asked
		asked <- list
		return slices.Clone(list)
	}
}

func mustProxy(t *testing.T, s string) hop.Proxy {
	t.Helper()
	p, err := hop.ParseProxy(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAChannelOverAnotherResolvesThroughItsOwnHopAndTheHopsNameBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"gw.provider.example.com. 60 A 198.51.100.9"})
		exitResolver := netip.MustParseAddrPort("1.1.1.1:853")
		exitDNS := dnstest.ServeDoT(w.net.Listen(exitResolver), w.ca.Issue(nil, []netip.Addr{exitResolver.Addr()}),
			dnstest.Zone{"api.example.com. 60 A 203.0.113.7"}.Handler())
		defer exitDNS.Close()
		w.greet(t, "203.0.113.7:443", "api")
		asked := w.proxy(t, "198.51.100.9:3128", nil)
		below := w.direct(t)
		c := w.open(t, Spec{
			Name: "residential", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://gw.provider.example.com:3128")},
			Resolver: w.resolver(t, "tls://1.1.1.1"),
		}, below)
		conn, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "api")
		for _, target := range asked() {
			if target != "1.1.1.1:853" && target != "203.0.113.7:443" {
				t.Errorf("the proxy was asked for %q", target)
			}
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != 0 {
			t.Errorf("the resolver below was asked for the target's name %d times", n)
		}
		if n := exitDNS.Count("gw.provider.example.com", dnswire.A); n != 0 {
			t.Errorf("the channel's own resolver was asked for its hop's name %d times", n)
		}
		if n := w.dns.Count("gw.provider.example.com", dnswire.A); n == 0 {
			t.Error("nobody resolved the hop's name: the test proves nothing")
		}
	})
}

func TestWithResolveAtExitNobodyResolvesTheTargetBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"gw.provider.example.com. 60 A 198.51.100.9"})
		w.greet(t, "203.0.113.7:443", "api")
		asked := w.proxy(t, "198.51.100.9:3128", map[string]string{"api.example.com:443": "203.0.113.7:443"})
		c := w.open(t, Spec{
			Name: "exit", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://gw.provider.example.com:3128")}, ResolveAtExit: true,
		}, w.direct(t))
		conn, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "api")
		if got := asked(); !slices.Equal(got, []string{"api.example.com:443"}) {
			t.Errorf("the proxy was asked for %q", got)
		}
		if n := w.dns.Count("api.example.com", dnswire.A) + w.dns.Count("api.example.com", dnswire.AAAA); n != 0 {
			t.Errorf("the name was looked up here %d times too", n)
		}
		for host, want := range map[string]fault.Code{
			"printer.local": fault.DNSNXDomain, "wpad": fault.DNSNXDomain, "localhost": fault.PolicyPrivateTarget,
		} {
			target, err := name.New(name.MustHost(host), 443)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.DialChecked(t.Context(), target, anyAddress); codeOf(err) != want {
				t.Errorf("%s went to the exit, or gave another reason: %v", host, err)
			}
		}
		for host, want := range map[string]int{"Printer.Local.": dnswire.NXDomain, "use-application-dns.net": dnswire.NXDomain, "localhost": dnswire.NoError} {
			refusing := func(netip.Addr) error { return errors.New("refused") }
			if a, err := c.ExchangeGiven(t.Context(), dnswire.Question{Name: host, Type: dnswire.A}, refusing); err != nil || a.RCode != want {
				t.Errorf("whoever asks for %s by DNS reads %v, %v", host, a, err)
			}
		}
		if _, err := c.ExchangeGiven(t.Context(), dnswire.Question{Name: "api.example.com", Type: dnswire.A}, anyAddress); codeOf(err) != fault.DNSServFail {
			t.Errorf("an ordinary name, which only the exit resolves, gave %v", err)
		}
		if got := asked(); len(got) != 1 {
			t.Errorf("special-use names reached the proxy: %q", got)
		}
		if _, err := c.Lookup(t.Context(), "api.example.com"); codeOf(err) != fault.DNSServFail {
			t.Errorf("a look-up in a channel without resolver gave %v", err)
		}
	})
}

func TestADeadHopIsAFaultAndNoOtherWayIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"gw.provider.example.com. 60 A 198.51.100.9", "api.example.com. 60 A 203.0.113.7"})
		w.greet(t, "203.0.113.7:443", "api")
		c := w.open(t, Spec{
			Name: "exit", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://gw.provider.example.com:3128")}, ResolveAtExit: true,
		}, w.direct(t))
		if _, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress); codeOf(err) != fault.HopRefused {
			t.Errorf("it gave %v", err)
		}
		if slices.Contains(w.net.Dials(), netip.MustParseAddrPort("203.0.113.7:443")) {
			t.Error("the target was dialled past the hop")
		}
	})
}

func TestAddressesGivenOutAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"api.example.com. 60 A 203.0.113.7"})
		c := w.direct(t)
		addr := netip.MustParseAddr("203.0.113.7")
		if c.Gave(addr) {
			t.Fatal("it remembers what it never gave")
		}
		if _, err := c.LookupGiven(t.Context(), "api.example.com", anyAddress); err != nil {
			t.Fatal(err)
		}
		if !c.Gave(addr) || c.Gave(netip.MustParseAddr("203.0.113.8")) {
			t.Error("it does not remember what it gave")
		}
		c.Flush()
		if !c.Gave(addr) {
			t.Error("a client that was about to come back is taken for one that resolved elsewhere")
		}
	})
}

func TestAChannelNeedsAllThatItStandsOn(t *testing.T) {
	w := newWorld(t, nil)
	good := Spec{Name: "x", Resolver: w.resolver(t, "tls://9.9.9.9")}
	for what, open := range map[string]func() (*Channel, error){
		"no name":       func() (*Channel, error) { return Open(Spec{Resolver: good.Resolver}, OnGround(&w.net)) },
		"nothing below": func() (*Channel, error) { return Open(good, nil) },
		"no upstream": func() (*Channel, error) {
			return Open(Spec{Name: "x", Resolver: resolve.Options{Sink: event.Discard{}}}, OnGround(&w.net))
		},
		"exit without proxy": func() (*Channel, error) {
			return Open(Spec{Name: "x", ResolveAtExit: true}, OnGround(&w.net))
		},
	} {
		if c, err := open(); err == nil {
			t.Errorf("%s: opened %v", what, c.Name())
		}
	}
	if _, err := OnGround(&w.net).Lookup(t.Context(), "example.com"); codeOf(err) != fault.Internal {
		t.Errorf("the ground resolves: %v", err)
	}
}
