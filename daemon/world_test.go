package daemon

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"watertight/config"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/memory"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

func TestMain(m *testing.M) {
	child()
	os.Exit(sealed(m))
}

// sealed runs the tests with the host's resolver disarmed, and fails if it was asked.
func sealed(m *testing.M) int {
	wire.Seal()
	dir, err := os.MkdirTemp("", "watertight-daemon")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	caFile = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, authority.CA.PEM(), 0o600); err != nil {
		panic(err)
	}
	code := m.Run()
	if n := wire.Trapped(); n != 0 {
		fmt.Println("the host's resolver was asked", n, "times")
		return 1
	}
	return code
}

// The secrets: labels that nobody on the way may read.
const (
	canary   = "canary7f3k9q2x"
	hopLabel = "hop5z8w3hidden"
)

// The parties and what they are called.
const (
	target    = "api." + canary + ".example.com:443"
	hostName  = "api." + canary + ".example.com"
	hop1Name  = "gw1." + hopLabel + ".provider.net"
	hop2Name  = "gw2." + hopLabel + ".provider.net"
	belowName = "dns.below.net"
	ownName   = "dns.exit.net"
)

var (
	belowAddr  = netip.MustParseAddr("185.10.0.53")
	ownAddr    = netip.MustParseAddr("185.11.0.53")
	otherAddr  = netip.MustParseAddr("185.12.0.53") // a resolver that nobody configured
	below6Addr = netip.MustParseAddr("2a05:10::53")
	originAt   = netip.MustParseAddrPort("93.184.216.34:443")
	origin6At  = netip.MustParseAddrPort("[2606:2800:220:1::34]:443")
	socksAt    = netip.MustParseAddrPort("146.1.0.1:1080")
	connectAt  = netip.MustParseAddrPort("146.1.0.2:3128")
	socks6At   = netip.MustParseAddrPort("[2a05:20::1]:1080")

	caFile    string
	authority = memory.NewAuthority([]string{belowName, ownName}, []netip.Addr{belowAddr, ownAddr, otherAddr, below6Addr})
)

// records are what is true on the internet of most tests.
var records = []string{
	hostName + ". 60 A " + originAt.Addr().String(),
	hop1Name + ". 60 A " + socksAt.Addr().String(),
	hop2Name + ". 60 A " + connectAt.Addr().String(),
	"four." + canary + ".example.com. 60 A " + originAt.Addr().String(),
	"six." + canary + ".example.com. 60 AAAA " + origin6At.Addr().String(),
	"dual." + canary + ".example.com. 60 A " + originAt.Addr().String(),
	"dual." + canary + ".example.com. 60 AAAA " + origin6At.Addr().String(),
	"text." + canary + ".example.com. 60 TXT hello",
}

// way is how a channel leads out.
type way string

const (
	straight  way = "direct"
	bySOCKS   way = "over SOCKS5"
	byCONNECT way = "over CONNECT"
	byChain   way = "over a chain of two"
)

var ways = []way{straight, bySOCKS, byCONNECT, byChain}

// transport is how a resolver is spoken to.
type transport string

const (
	dot transport = "tls"
	doh transport = "https"
)

var transports = []transport{dot, doh}

func (k transport) port() uint16 {
	if k == dot {
		return memory.PortDoT
	}
	return memory.PortDoH
}

// world is an internet with a generation of the program on it.
type world struct {
	*memory.Internet
	t     *testing.T
	way   way
	kind  transport
	sink  *recorder
	extra string // of the configuration: routes, policy

	below, own, other *memory.Resolver // own is the resolver of the channel that carries the traffic
	socks, connect    *memory.Proxy

	g       *generation
	allowed memory.Allowed
}

// recorder keeps what was reported.
type recorder struct {
	event.Discard
	mu       sync.Mutex
	requests []event.Request
}

func (r *recorder) Request(e *event.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, *e)
}

func (r *recorder) last() event.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[len(r.requests)-1]
}

// inWorld runs a test in a bubble, in a world that is closed at its end; the verdict on leaks is part of every test.
func inWorld(t *testing.T, v way, k transport, test func(*world)) {
	t.Helper()
	synctestWorld(t, v, k, func(w *world) {
		test(w)
		w.sealed()
	})
}

// synctestWorld is inWorld without the verdict.
func synctestWorld(t *testing.T, v way, k transport, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, v, k)
		defer w.close()
		test(w)
	})
}

func newWorld(t *testing.T, v way, k transport) *world {
	w := &world{Internet: memory.New(authority, slices.Clone(records)), t: t, way: v, kind: k, sink: &recorder{}}
	w.below = w.Resolver("below", belowAddr)
	w.other = w.Resolver("other", otherAddr)
	w.own = w.below
	if v != straight {
		w.own = w.Resolver("own", ownAddr)
	}
	w.socks = w.SOCKS5("hop1", socksAt.String(), "jo", "pass word")
	w.connect = w.CONNECT("hop2", connectAt.String(), "ann", "s3cret")
	w.Origin(originAt.String(), "origin")
	w.Origin(origin6At.String(), "origin6")
	w.allowed = w.permitted()
	return w
}

func (w *world) close() {
	if w.g != nil {
		w.g.discard(nil)
	}
	w.Close()
}

// permitted is what the world's way out may do, and nothing else.
func (w *world) permitted() memory.Allowed {
	dials := map[string][]netip.AddrPort{}
	may := func(who string, to ...netip.AddrPort) { dials[who] = append(dials[who], to...) }
	below, own := netip.AddrPortFrom(belowAddr, w.kind.port()), netip.AddrPortFrom(w.own.Addr, w.kind.port())
	may(memory.Program, below)
	end := map[way]string{straight: memory.Program, bySOCKS: "hop1", byCONNECT: "hop2", byChain: "hop2"}[w.way]
	may(end, own, originAt, origin6At)
	switch w.way {
	case bySOCKS:
		may(memory.Program, socksAt)
	case byCONNECT:
		may(memory.Program, connectAt)
	case byChain:
		may(memory.Program, socksAt)
		may("hop1", connectAt)
	}
	return memory.Allowed{
		Dials:   dials,
		Secrets: map[string][]string{canary: {w.own.Name}, hopLabel: {"below"}},
	}
}

// upstream is a resolver in the configuration.
func (w *world) upstream(host string, at netip.Addr, pins ...string) string {
	pinned := ""
	if len(pins) > 0 {
		pinned = ", pins: [" + strings.Join(pins, ", ") + "]"
	}
	return fmt.Sprintf("{url: %q, addresses: [%q], ca: %q%s}", string(w.kind)+"://"+host, at, caFile, pinned)
}

// proxies is the chain of the world's way, as YAML.
func (w *world) proxies() string {
	one, two := `"socks5://jo:pass%20word@`+hop1Name+`:1080"`, `"http://ann:s3cret@`+hop2Name+`:3128"`
	switch w.way {
	case bySOCKS:
		return one
	case byCONNECT:
		return two
	}
	return "[" + one + ", " + two + "]"
}

// text is the configuration of the world's way. More stands in the map of the channel that carries the traffic.
func (w *world) text(more ...string) string {
	below := w.upstream(belowName, belowAddr)
	if w.way == straight {
		return "channels:\n  direct: {resolver: {upstreams: [" + below + "]" + tail(more) + "}}\n" + w.extra
	}
	s := "channels:\n  direct: {resolver: {upstreams: [" + below + "]}}\n" +
		"  out:\n    proxy: " + w.proxies() + "\n    resolver: {upstreams: [" + w.upstream(ownName, ownAddr) + "]" + tail(more) + "}\n"
	if !strings.Contains(w.extra, "routes:") {
		s += "routes: [{to: \"*\", channel: out}]\n"
	}
	return s + w.extra
}

// exit is the configuration of the world's way with `resolve: exit`.
func (w *world) exit() string {
	return "channels:\n  direct: {resolver: {upstreams: [" + w.upstream(belowName, belowAddr) + "]}}\n" +
		"  out: {proxy: " + w.proxies() + ", resolve: exit}\nroutes: [{to: \"*\", channel: out}]\n" + w.extra
}

func tail(more []string) string {
	if len(more) == 0 {
		return ""
	}
	return ", " + strings.Join(more, ", ")
}

func (w *world) parse(text string) *config.Config {
	w.t.Helper()
	c, err := config.Parse("test.yaml", []byte(text), config.ThisHost())
	if err != nil {
		w.t.Fatalf("the test's own configuration: %v\n%s", err, text)
	}
	return c
}

func (w *world) shared() shared {
	return shared{ground: w.Ground(memory.Program), sink: w.sink, own: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}}
}

// run builds and starts the generation of a configuration, after the one before.
func (w *world) run(text string) *generation {
	w.t.Helper()
	return w.runWith(w.shared(), text)
}

func (w *world) runWith(s shared, text string) *generation {
	w.t.Helper()
	before := w.g
	g, err := build(w.parse(text), s, before)
	if err != nil {
		w.t.Fatal(err)
	}
	g.start(context.Background())
	w.g = g
	if before != nil {
		before.inFlight.Wait()
		before.discard(g)
	}
	return g
}

// ready runs a configuration and waits until its channels are ready.
func (w *world) ready(text string) {
	w.t.Helper()
	w.runOn(w.shared(), text)
}

func request(to string) route.Request {
	return route.Request{Door: event.DoorCONNECT, Client: netip.MustParseAddrPort("127.0.0.1:50000"), Target: name.Must(to)}
}

func (w *world) dial(to string) (net.Conn, error) { return w.g.table.Dial(w.t.Context(), request(to)) }

// reaches wants a target to be connected to the origin that says this word, and to carry octets both ways.
func (w *world) reaches(to, word string) {
	w.t.Helper()
	conn, err := w.dial(to)
	if err != nil {
		w.t.Errorf("%s: %v", to, err)
		return
	}
	defer conn.Close()
	w.talks(conn, word)
}

func (w *world) talks(conn net.Conn, word string) {
	w.t.Helper()
	r := bufio.NewReader(conn)
	if got, err := r.ReadString('\n'); got != word+"\n" {
		w.t.Errorf("the far side said %q (%v), want %q", got, err, word)
	}
	fmt.Fprintln(conn, "ping")
	if got, err := r.ReadString('\n'); got != "ping\n" {
		w.t.Errorf("the echo was %q (%v)", got, err)
	}
}

// fails wants a fault with a code, which names target and channel, and whose text holds a part.
func (w *world) fails(to string, code fault.Code, part string) *fault.Error {
	w.t.Helper()
	conn, err := w.dial(to)
	if err == nil {
		conn.Close()
		w.t.Errorf("%s was connected, want %s", to, code)
		return nil
	}
	return w.isFault(err, to, code, part)
}

func (w *world) isFault(err error, to string, code fault.Code, part string) *fault.Error {
	w.t.Helper()
	f, ok := err.(*fault.Error)
	switch {
	case !ok:
		w.t.Errorf("%s: %T is no fault: %v", to, err, err)
		return nil
	case f.Code != code || !strings.Contains(f.Message, part):
		w.t.Errorf("%s: %v, want %s with %q", to, f, code, part)
	case f.Target != name.Must(to).String():
		w.t.Errorf("%s: the fault is about %q", to, f.Target)
	}
	for _, secret := range []string{"pass word", "pass%20word", "s3cret"} {
		if strings.Contains(f.Error()+f.NextStep(), secret) {
			w.t.Errorf("%s: a password stands in %v", to, f)
		}
	}
	return f
}

// sealed wants that nothing happened which is not permitted.
func (w *world) sealed() {
	w.t.Helper()
	for _, leak := range w.Leaks(w.allowed) {
		w.t.Error("LEAK ", leak)
	}
}

// zoneOf answers from a few records.
func zoneOf(records ...string) dnstest.Handler { return dnstest.Zone(records).Handler() }

// names gives what a resolver was asked for.
func names(r *memory.Resolver) []string {
	var list []string
	for _, q := range r.Log() {
		list = append(list, q.Name)
	}
	return list
}
