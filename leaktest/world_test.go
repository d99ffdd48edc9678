package leaktest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/visit"
)

const zone = "canary.example.net"

// Addresses of the world.
var (
	home     = netip.MustParseAddr("198.18.1.7")   // of this host
	below    = netip.MustParseAddr("198.18.50.53") // of the resolver of direct
	nearby   = netip.MustParseAddr("198.18.60.53") // of the resolver of out
	exit     = netip.MustParseAddr("198.18.60.9")  // of the hop of out
	stranger = netip.MustParseAddr("203.0.113.99") // of a resolver that nobody configured
	canary4  = netip.MustParseAddr("203.0.113.20")
	canary6  = netip.MustParseAddr("2001:db8:20::20")
)

// world is a canary, and a program that is as it should be but for what a test makes of it.
type world struct {
	t            *testing.T
	about        About
	counts       Counters
	counted      bool // they were asked for
	early        bool // they are of the time before the test
	seen         Observed
	control      bool // the host's resolver leads to the canary
	controlLabel string
	blind        bool // nobody reads packets

	deaf     bool // the canary sees nothing
	mute     bool // the canary's API is down
	other    bool // it serves another zone
	data     bool // it knows networks
	overflow bool

	// also is asked about every question that comes to the canary in the proper way: who asks besides.
	also func(host string, branch visit.Branch, by string, t dnswire.Type) []netip.Addr
	// answers is what a channel says to a question for a special-use name: true where it is answered here.
	local func(host string) bool
	// carries says whether a door carries what it must refuse; dials that it has tried to.
	carries, dials func(target string) bool
	shared         bool // one cache for both channels
	subnet         string
	abroad         bool                  // out's resolver is in another country than its exit
	roams          bool                  // out's resolver asks from addresses that it does not tell
	exitOf         map[string]netip.Addr // where a channel's connections come out, through a door
	cutAnswers     bool
	cutTries       []Attempt
	cutOf          string // the only channel of which copies that are cut off are wrong; empty: all of them
	deadAnswers    bool   // a channel whose resolver alone is dead does
	deadTries      []Attempt
	changeOut      func(c *Channel)   // changes the channel out
	windows        map[string]*window // what goes wrong with a copy: unready, retired, changed, again
	roamsTo        netip.Addr         // where roams leads; not valid: to the stranger
	kin            bool               // that is an address of the resolver's network
	changeDoors    func([]Door) []Door
	stranger       bool   // the mixed port lets in nobody whom it does not know
	shut           bool   // what no policy refuses is refused all the same
	open           string // the case by which a contained program gets out
	users          []User // with routes of their own
	leadsAs        func(user string) (string, error)
	rules          *rules // of the firewall; nil: it hands nothing over
	guard          Guard
	guardAfter     *Guard // what it is once the test has begun; nil: the same
	guardErr       error
	strayed        func(s Stray) (came Strayed, counted bool)
	guardAsked     bool
	guardsHost     bool // it refuses what the host's own resolver asks

	mu     sync.Mutex
	log    map[string]*visit.Seen
	cached map[string]bool
	queue  chan net.Conn
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, about: About{Version: "test", Policy: Policy{PlainHTTP: "refuse", ForeignResolvers: "refuse", ClientResolved: "refuse"}},
		control: true, data: true, seen: Observed{Interfaces: []string{"eth0"}},
		also:    func(string, visit.Branch, string, dnswire.Type) []netip.Addr { return nil },
		local:   func(string) bool { return true },
		carries: func(string) bool { return false }, dials: func(string) bool { return false },
		exitOf:  map[string]netip.Addr{"direct": home, "out": exit},
		guard:   Guard{Written: true, Armed: true, Held: true, Mark: 119, Uplinks: []string{"eth0"}},
		strayed: func(Stray) (Strayed, bool) { return Strayed{StrayRefused, "EPERM"}, true },
		log:     map[string]*visit.Seen{}, cached: map[string]bool{}, queue: make(chan net.Conn),
	}
}

// network is whose an address is.
func (w *world) network(a netip.Addr) *visit.Network {
	if !w.data {
		return nil
	}
	if w.abroad && a == exit {
		return &visit.Network{Number: 64501, Name: "Exit", Country: "NO"}
	}
	if w.abroad && a == nearby {
		return &visit.Network{Number: 64502, Name: "Elsewhere", Country: "DE"}
	}
	if w.kin && a == w.roamsTo {
		a = nearby
	}
	switch a {
	case home, below:
		return &visit.Network{Number: 64500, Name: "Home", Country: "DE"}
	case nearby, exit:
		return &visit.Network{Number: 64501, Name: "Exit", Country: "SE"}
	}
	return &visit.Network{Number: 64666, Name: "Stranger", Country: "US"}
}

// note lets the canary see a question.
func (w *world) note(host string, t dnswire.Type, from netip.Addr) {
	label, _, _, err := visit.Parse(host, zone)
	if err != nil || w.deaf {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.log[label]
	if s == nil {
		s = &visit.Seen{Label: label, Cut: w.overflow}
		w.log[label] = s
	}
	s.Queries = append(s.Queries, visit.Query{
		At: time.Now(), From: netip.AddrPortFrom(from, 4000), Network: w.network(from), Over: "udp", Name: host, Type: t.String(), Subnet: w.subnet,
	})
}

// asked is a question in a channel, which came by a door where by says so.
func (w *world) asked(channel, host, by string, t dnswire.Type) error {
	_, branch, _, err := visit.Parse(host, zone)
	if err != nil {
		return nil
	}
	resolver := below
	if channel == "out" {
		resolver = nearby
		if w.roams {
			if resolver = stranger; w.roamsTo.IsValid() {
				resolver = w.roamsTo
				if branch == visit.Plain && w.kin { // it is known to be there, too
					w.note(host, t, nearby)
				}
			}
		}
	}
	w.mu.Lock()
	known := w.shared && w.cached[host]
	w.cached[host] = true
	w.mu.Unlock()
	if !known {
		w.note(host, t, resolver)
	}
	for _, from := range w.also(host, branch, by, t) {
		w.note(host, t, from)
	}
	switch branch {
	case visit.Servfail, visit.Refused:
		return fault.New(fault.DNSServFail, "it failed", nil)
	case visit.Bogus:
		return fault.New(fault.DNSBogus, "it is bogus", nil)
	case visit.Silent:
		return fault.New(fault.DNSTimeout, "nobody answers", nil)
	case visit.Nxdomain:
		return fault.New(fault.DNSNXDomain, "it does not exist", nil)
	}
	return nil
}

// way is a channel of the world.
type way struct {
	w       *world
	channel string
	by      string
}

func (y way) Exchange(_ context.Context, q dnswire.Question) (*dnswire.Answer, bool, error) {
	if q.Name == visit.Whoami+"."+zone {
		resolver := below
		if y.channel == "out" {
			resolver = nearby
		}
		a, err := dnswire.Local(q, dnswire.Reply{Answer: []dnswire.Record{dnswire.AddrRecord(q.Name, 0, resolver)}})
		if q.Type != dnswire.A {
			a, err = dnswire.Local(q, dnswire.Reply{})
		}
		return a, false, err
	}
	if !strings.HasSuffix(q.Name, zone) && y.w.local(q.Name) {
		a, err := dnswire.Local(q, dnswire.Reply{RCode: dnswire.NXDomain})
		return a, true, err
	}
	if err := y.w.asked(y.channel, q.Name, y.by, q.Type); err != nil {
		return nil, false, err
	}
	a, err := dnswire.Local(q, dnswire.Reply{})
	return a, false, err
}

// Connect connects to the canary, whatever the name.
func (y way) Connect(_ context.Context, host string, _ uint16) (net.Conn, error) {
	if y.w.mute {
		return nil, fault.New(fault.ConnectRefused, "nobody listens", nil)
	}
	if err := y.w.asked(y.channel, host, y.by, dnswire.A); err != nil {
		return nil, err
	}
	from := map[string]netip.Addr{"direct": home, "out": exit}[y.channel]
	if y.by != "" {
		from = y.w.exitOf[y.channel]
	}
	near, far := net.Pipe()
	y.w.queue <- from1{far, from}
	return near, nil
}

// from1 is a connection that comes from an address.
type from1 struct {
	net.Conn
	from netip.Addr
}

func (c from1) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 5000))
}

// queue is a listener of connections in memory.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  *sync.Once
}

func (q queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}
func (q queue) Close() error   { q.once.Do(func() { close(q.done) }); return nil }
func (q queue) Addr() net.Addr { return &net.TCPAddr{} }

// ServeHTTP is the canary's API.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	give := func(v any) { _ = json.NewEncoder(out).Encode(v) }
	if label, _, _, err := visit.Parse(r.Host, zone); err == nil {
		at := netip.MustParseAddrPort(r.RemoteAddr)
		w.mu.Lock()
		defer w.mu.Unlock()
		if s := w.log[label]; s != nil {
			s.Requests = append(s.Requests, visit.Request{From: at, Network: w.network(at.Addr()), Host: r.Host})
		}
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api")
	switch label, ofLabel := strings.CutPrefix(path, visit.PathLabel); {
	case ofLabel:
		w.mu.Lock()
		defer w.mu.Unlock()
		if s := w.log[label]; s != nil {
			give(s)
			return
		}
		http.NotFound(out, r)
	case path == visit.PathWhoami:
		at := netip.MustParseAddrPort(r.RemoteAddr)
		give(visit.Whoever{Address: at.Addr(), Network: w.network(at.Addr())})
	case path == visit.PathZone:
		z := visit.Zone{Zone: zone, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.0.20"), canary4, canary6, netip.MustParseAddr("203.0.113.21")}}
		if w.other {
			z.Zone = "other.example.org"
		}
		give(z)
	}
}

// The world is a subject.

func (w *world) About() About                 { return w.about }
func (w *world) Leads(string) (string, error) { return "out", nil }

// Counters are none of before the test, but where they are early.
func (w *world) Counters() Counters {
	if !w.counted && !w.early {
		w.counted = true
		return Counters{}
	}
	return w.counts
}

func (w *world) Channels() []Channel {
	all := []Channel{
		{Way: way{w, "direct", ""}, Name: "direct", Resolvers: []string{"https://198.18.50.53"}, Addresses: []netip.Addr{below}},
		{Way: way{w, "out", ""}, Name: "out", Over: "direct", Hops: []string{"socks5://198.18.60.9:1080"}, Resolvers: []string{"https://198.18.60.53"}, Addresses: []netip.Addr{nearby}},
	}
	if w.changeOut != nil {
		w.changeOut(&all[1])
	}
	return all
}

func (w *world) Doors() []Door {
	if w.changeDoors != nil {
		return w.changeDoors(w.allDoors())
	}
	return w.allDoors()
}

func (w *world) allDoors() []Door {
	at := netip.MustParseAddrPort("127.0.0.1:8080")
	return []Door{
		{Kind: DoorProxy, At: at.String(), Address: at, Dial: w.dialDoor, Relay: w.relay},
		{Kind: DoorDNS, At: "127.0.0.1:5353", Dial: w.dialDNS(true), Datagrams: func() (net.Conn, error) { return w.dialDNS(false)(context.Background()) }},
		{Kind: DoorGateway, At: "127.0.0.1:8088", Dial: w.dialGateway, Generic: func(string, uint16) (string, error) { return "out", nil }},
	}
}

// Start lets the world look on.
func (w *world) Start(_ context.Context, _ Look) (Watching, error) { return watched{w}, nil }

type watched struct{ w *world }

func (w watched) Stop() (Observed, error) {
	seen := w.w.seen
	for i := range seen.Sightings {
		if seen.Sightings[i].Label == "control" {
			seen.Sightings[i].Label = w.w.controlLabel
		}
	}
	return seen, nil
}

// run runs the test, in a bubble.
func (w *world) run(change ...func(*Options)) (report *Report) {
	w.t.Helper()
	synctest.Test(w.t, func(t *testing.T) {
		w.queue = make(chan net.Conn)
		server := &http.Server{Handler: w}
		l := queue{w.queue, make(chan struct{}), new(sync.Once)}
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		o := Options{
			Subject: w, Observer: w, Canary: &Canary{Zone: zone, API: "http://" + zone + "/api", Channel: "direct"},
			Control: func(_ context.Context, host string) error {
				w.controlLabel, _, _ = strings.Cut(host, ".")
				if w.guardsHost {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.guard.Refused.DNS++
					return errors.New("the host's resolver found nothing")
				}
				if w.control {
					w.note(host, dnswire.A, stranger)
				}
				return nil
			},
			Limit: 5 * time.Minute,
		}
		if w.blind {
			o.Observer = nil
		}
		o.Environ = slices.Clone(cleanEnviron)
		for _, c := range change {
			c(&o)
		}
		var err error
		if report, err = Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
	})
	return report
}

var cleanEnviron = []string{
	"http_proxy=http://127.0.0.1:8080", "https_proxy=http://127.0.0.1:8080", "HTTPS_PROXY=http://127.0.0.1:8080", "no_proxy=localhost,127.0.0.1,::1",
}
