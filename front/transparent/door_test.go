package transparent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/hello"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

// inside is what stands behind a door in tests: every target is one origin, or an error.
type inside struct {
	origin string
	err    error
	given  map[netip.Addr][]route.Given
	own    bool
	sealed bool                     // what was given to nobody is refused
	stood  map[netip.Addr]name.Host // addresses that stand for names

	mu     sync.Mutex
	asked  []route.Request
	events []event.Request
}

func (in *inside) Dial(_ context.Context, r route.Request) (net.Conn, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asked = append(in.asked, r)
	if in.err != nil {
		return nil, in.err
	}
	return net.Dial("tcp", in.origin)
}

func (in *inside) requests() []route.Request {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.asked)
}

func (in *inside) DialPacket(context.Context, route.Request) (net.Conn, error) {
	return nil, errors.New("none here")
}

func (in *inside) RefusesUngiven(event.Door) bool { return in.sealed }

func (in *inside) stands(a netip.Addr) (name.Host, bool) {
	h, ok := in.stood[a]
	return h, ok
}

func (in *inside) GivenFor(_, addr netip.Addr) []route.Given { return in.given[addr] }
func (in *inside) Leads(h name.Host) string                  { return channelOf(h.String()) }

// channelOf is the channel of a name in these tests: its last label. The address leads to one.
func channelOf(host string) string {
	if host == "203.0.113.7" {
		return "one"
	}
	return host[strings.LastIndexByte(host, '.')+1:]
}

func (in *inside) Request(e *event.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.events = append(in.events, *e)
}
func (in *inside) Tunnel(*event.Tunnel) {}
func (in *inside) Lookup(*event.Lookup) {}

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

// meantFor opens a door to which every connection was meant for one address, and connects to it.
func (in *inside) meantFor(t *testing.T, to string, err error) *net.TCPConn {
	t.Helper()
	conn, _ := in.doorFor(t, to, err)
	return conn
}

// doorFor is meantFor with the door.
func (in *inside) doorFor(t *testing.T, to string, err error) (*net.TCPConn, *Door) {
	t.Helper()
	door, derr := New(Options{
		Dialer: in, Relay: in.relay, Sink: in, Logger: slog.New(slog.DiscardHandler), Connections: 9, Flows: 9,
		Own: func(_, _ netip.AddrPort) bool { return in.own }, Stands: in.stands, Door: event.DoorTransparent, PacketDoor: event.DoorTransparentUDP,
	})
	if derr != nil {
		t.Fatal(derr)
	}
	l, lerr := net.Listen("tcp", "127.0.0.1:0")
	if lerr != nil {
		t.Fatal(lerr)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, dialled := make(chan error, 1), make(chan struct{})
	go func() {
		served <- door.Serve(ctx, l.(*net.TCPListener), func(*net.TCPConn) (netip.AddrPort, error) {
			<-dialled // else a reset may come before the client knows that it is connected
			return netip.MustParseAddrPort(to), err
		})
	}()
	conn, cerr := net.Dial("tcp", l.Addr().String())
	close(dialled)
	if cerr != nil {
		t.Fatal(cerr)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // only so that a broken test ends
	t.Cleanup(func() {
		conn.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		door.Drain(time.Minute)
		if door.Open() != 0 {
			t.Error("a connection is left")
		}
	})
	return conn.(*net.TCPConn), door
}

const meant = "203.0.113.7:443"

func given(names ...string) map[netip.Addr][]route.Given {
	all := map[netip.Addr][]route.Given{}
	for _, n := range names {
		a := netip.MustParseAddr("203.0.113.7")
		all[a] = append(all[a], route.Given{Host: name.MustHost(n), Channel: channelOf(n)})
	}
	return all
}

// says sends octets, and wants them back to the last.
func says(t *testing.T, conn *net.TCPConn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%d octets came back of %d, %v", len(got), len(b), err)
	}
}

func helloOf(t *testing.T, host string) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: host}).HandshakeContext(t.Context()) }()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return b[:n]
}

func TestAConnectionIsForTheNameAndWhatWasReadIsPassedOn(t *testing.T) {
	in := &inside{origin: echo(t), given: given("other.example", "api.example")}
	conn := in.meantFor(t, meant, nil)
	says(t, conn, append(helloOf(t, "api.example"), bytes.Repeat([]byte("more"), 9000)...))
	want := route.Request{
		Door: event.DoorTransparent, Client: conn.LocalAddr().(*net.TCPAddr).AddrPort(), Target: name.Must("api.example:443"),
		Original: netip.MustParseAddr("203.0.113.7"),
	}
	if len(in.asked) != 1 || in.asked[0] != want {
		t.Errorf("asked for %+v", in.asked)
	}
}

func TestAClientThatWaitsForTheServerGoesToTheNameItWasGiven(t *testing.T) {
	in := &inside{origin: echo(t), given: given("ssh.example")}
	conn := in.meantFor(t, "203.0.113.7:22", nil)
	decided := func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return len(in.asked) > 0
	}
	for until := time.Now().Add(20 * time.Second); !decided(); time.Sleep(time.Millisecond) { // it is silent until the door has decided
		if time.Now().After(until) {
			t.Fatal("the door did not decide")
		}
	}
	says(t, conn, []byte("SSH-2.0-x\r\n"))
	if in.asked[0].Target != name.Must("ssh.example:22") {
		t.Errorf("asked for %+v", in.asked)
	}
}

func TestAHalfHelloIsPassedOnToo(t *testing.T) {
	in := &inside{origin: echo(t), given: given("api.example")}
	says(t, in.meantFor(t, meant, nil), helloOf(t, "api.example")[:100])
	if in.asked[0].Target != name.Must("api.example:443") {
		t.Errorf("asked for %+v", in.asked)
	}
}

func TestWhoIsRefusedGetsAReset(t *testing.T) {
	refused := fault.New(fault.PolicyRoute, "no", nil)
	for title, tt := range map[string]struct {
		in   *inside
		err  error
		code fault.Code // that the door reports; the dialer reports its own
	}{
		"by the dialer":       {&inside{err: refused}, nil, ""},
		"not redirected":      {&inside{}, wire.ErrNotRedirected, fault.BadRequest},
		"our own":             {&inside{own: true}, nil, fault.PolicyPrivateTarget},
		"of several channels": {&inside{given: given("a.one", "b.two")}, nil, fault.PolicyRoute},
		"standing for none":   {&inside{stood: map[netip.Addr]name.Host{netip.MustParseAddr("203.0.113.7"): {}}}, nil, fault.PolicyClientResolved},
	} {
		conn := tt.in.meantFor(t, meant, tt.err)
		_, wrote := io.WriteString(conn, "\x00\x01 something else than TLS")
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(wrote, syscall.ECONNRESET) && !errors.Is(wrote, syscall.EPIPE) {
			t.Errorf("%s: %v, %v", title, wrote, err)
		}
		tt.in.mu.Lock()
		if tt.code != "" && (len(tt.in.events) != 1 || tt.in.events[0].Code != tt.code || len(tt.in.asked) > 0) {
			t.Errorf("%s: reported %+v, asked %+v", title, tt.in.events, tt.in.asked)
		}
		tt.in.mu.Unlock()
	}
}

func TestWhichNameIsMeant(t *testing.T) {
	said := func(n string, hidden bool) hello.Said {
		if n == "" {
			return hello.Said{}
		}
		return hello.Said{Host: name.MustHost(n), Hidden: hidden}
	}
	for title, tt := range map[string]struct {
		given []string
		said  hello.Said
		want  string // empty: the address; "-": refused
	}{
		"one was given, and it is said":                   {[]string{"a.one"}, said("a.one", false), "a.one"},
		"one was given, and nothing is said":              {[]string{"a.one"}, said("", false), "a.one"},
		"several, and one of them is said":                {[]string{"a.one", "b.two"}, said("a.one", false), "a.one"},
		"several, and one of them is said, with ECH":      {[]string{"a.one", "b.two"}, said("a.one", true), "a.one"},
		"several of one channel, and nothing is said":     {[]string{"a.one", "b.one"}, said("", false), ""},
		"several of a channel that is not the address's":  {[]string{"a.two", "b.two"}, said("", false), "-"},
		"several, and a cover is said":                    {[]string{"a.one", "b.one"}, said("cover.one", true), ""},
		"several of two channels, and nothing is said":    {[]string{"a.one", "b.two"}, said("", false), "-"},
		"another is said than was given":                  {[]string{"a.one"}, said("b.one", false), "b.one"},
		"another is said than any that was given":         {[]string{"a.one", "b.two"}, said("c.two", false), "c.two"},
		"a cover is said, of the same channel":            {[]string{"a.one"}, said("cover.one", true), "a.one"},
		"a cover is said, of another channel":             {[]string{"a.one"}, said("cover.two", true), "-"},
		"a cover is said, and several channels are meant": {[]string{"a.one", "b.two"}, said("cover.two", true), "-"},
		"nothing was given, and nothing is said":          {nil, said("", false), ""},
		"nothing was given, and a name is said":           {nil, said("a.one", false), "a.one"},
		"nothing was given, and a cover is said":          {nil, said("cover.one", true), "cover.one"},
	} {
		h, err := choose(netip.MustParseAddr("203.0.113.7"), given(tt.given...)[netip.MustParseAddr("203.0.113.7")], tt.said, func(h name.Host) string { return channelOf(h.String()) })
		got := ""
		if err != nil {
			got = "-"
		} else if h.IsValid() {
			got = h.String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", title, got, tt.want)
		}
	}
}

func TestTheProgramsOwnConnectionsAreKnownByBothEnds(t *testing.T) {
	at := echo(t)
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var own Own
	from, to := conn.LocalAddr().(*net.TCPAddr).AddrPort(), netip.MustParseAddrPort(meant)
	if own.Has(from, to) {
		t.Error("it knows what it was not told")
	}
	own.Add(conn, to)
	for range ownMost {
		own.Add(conn, netip.MustParseAddrPort("203.0.113.8:443"))
	}
	if !own.Has(from, to) || own.Has(from, netip.MustParseAddrPort("203.0.113.7:80")) || own.Has(netip.MustParseAddrPort("127.0.0.1:1"), to) {
		t.Error("it does not know what it was told, and that alone")
	}
}

func TestADoorNeedsAllOfItsParts(t *testing.T) {
	in := &inside{}
	whole := Options{
		Dialer: in, Relay: in.relay, Sink: in, Logger: slog.New(slog.DiscardHandler), Connections: 1, Flows: 1, Own: func(_, _ netip.AddrPort) bool { return false },
		Stands: StandsForNone, Door: event.DoorTransparent, PacketDoor: event.DoorTransparentUDP,
	}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for title, take := range map[string]func(*Options){
		"dialer": func(o *Options) { o.Dialer = nil }, "relay": func(o *Options) { o.Relay = nil }, "sink": func(o *Options) { o.Sink = nil },
		"logger": func(o *Options) { o.Logger = nil }, "own": func(o *Options) { o.Own = nil },
		"stands": func(o *Options) { o.Stands = nil }, "door": func(o *Options) { o.Door = "" }, "door of datagrams": func(o *Options) { o.PacketDoor = "" },
		"connections": func(o *Options) { o.Connections = 0 }, "flows": func(o *Options) { o.Flows = 0 },
	} {
		o := whole
		take(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", title)
		}
	}
}

func TestThePortOfAnOwnConnectionMayBeAClientsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own Own
		conn := addressed{local: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}}
		from, to := conn.local.AddrPort(), netip.MustParseAddrPort(meant)
		own.Add(conn, to)
		time.Sleep(ownFor - time.Second)
		if !own.Has(from, to) {
			t.Error("it was forgotten too early")
		}
		time.Sleep(ownFor + time.Second)
		if own.Has(from, to) {
			t.Error("it is remembered for ever")
		}
	})
}

// addressed is a connection that has an address and nothing else.
type addressed struct {
	net.Conn
	local *net.TCPAddr
}

func (a addressed) LocalAddr() net.Addr { return a.local }

func TestWhatIsKnownBeforeTheClientSaysAnythingIsNotWaitedFor(t *testing.T) {
	stood := map[netip.Addr]name.Host{netip.MustParseAddr("203.0.113.7"): name.MustHost("api.example")}
	for title, tt := range map[string]struct {
		in   *inside
		want route.Request
	}{
		"a name that the address stands for":          {&inside{stood: stood}, route.Request{Target: name.Must("api.example:22")}},
		"an address that is refused whatever is said": {&inside{sealed: true}, route.Request{Target: name.Must("203.0.113.7:22"), Original: netip.MustParseAddr("203.0.113.7")}},
	} {
		tt.in.origin = echo(t)
		conn := tt.in.meantFor(t, "203.0.113.7:22", nil)
		says(t, conn, helloOf(t, "other.example")) // it is not looked at
		tt.want.Door, tt.want.Client = event.DoorTransparent, conn.LocalAddr().(*net.TCPAddr).AddrPort()
		if asked := tt.in.requests(); len(asked) != 1 || asked[0] != tt.want {
			t.Errorf("%s: asked for %+v", title, asked)
		}
	}
	in := &inside{sealed: true, given: given("api.example"), origin: echo(t)}
	says(t, in.meantFor(t, meant, nil), helloOf(t, "api.example"))
	if asked := in.requests(); len(asked) != 1 || asked[0].Target != name.Must("api.example:443") {
		t.Errorf("what was given out: asked for %+v", asked)
	}
}
