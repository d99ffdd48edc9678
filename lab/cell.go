package lab

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"watertight/capture"
	"watertight/lab/internet"
)

// Cell is one case of the leak catalogue: a client calls an API by way of a proxy under some circumstances, and the
// packets decide what it gave away.
type Cell struct {
	Families internet.Families
	Client   Client
	Scheme   string // of the proxy URL, one of the client's; empty: the client's first

	// Arrange prepares what the cell is about, before the proxy starts: further hosts, faults, permitted peers.
	Arrange func(t testing.TB, s *Scene)
	// Start starts the proxy under test on the client's host, waits until it is ready, and says where it listens.
	Start func(t testing.TB, s *Scene) (address string)
	// Before is called when the proxy is ready, right before the client's call: the moment for a fault to come.
	Before func(t testing.TB, s *Scene)
	// After is called after the client's call, before the proxy is stopped.
	After func(t testing.TB, s *Scene)

	// Refused is what the client must be told in its error, such as a fault's code. Empty: the call must succeed.
	// "*" accepts any error.
	Refused string
}

// Scene is the internet in which a cell is played, with the usual hosts.
type Scene struct {
	*internet.Internet
	Resolver *internet.Resolver // our encrypted resolver, "dns.example.net"
	Origin   *internet.Origin   // the API, under every name below "probe.example.net"
	CAFile   string             // the authority that both have their certificates from
	Canary   string             // the name that the client calls, used nowhere else
	Label    string             // its first label, which is what is searched for

	// Permitted are whom the client's host may exchange packets with. At first: the resolver (DNS over TLS and HTTPS)
	// and the origin (HTTPS).
	Permitted []capture.Peer
	// Asking are the hosts from which the authority may be asked for a canary. At first: the resolver's.
	Asking []*internet.Host
	// Readers are the permitted peers who may read the name, in a TLS server name or as a proxy's target. At first:
	// the origin.
	Readers []capture.Peer
}

// Zone is the suffix of canary names: an ordinary one, as special-use names never leave a resolver.
const Zone = "probe.example.net"

// NewScene builds the usual hosts and picks a canary.
func NewScene(t testing.TB, families internet.Families) *Scene {
	t.Helper()
	in := New(t, families)
	s := &Scene{Internet: in, Label: strings.ToLower(rand.Text())[:16]}
	s.Canary = s.Label + "." + Zone
	s.Resolver = Must(in.AddResolver("dns.example.net"))(t)
	s.Origin = Must(in.AddOrigin("origin", "*."+Zone))(t)
	s.CAFile = filepath.Join(in.Dir, "ca.pem")
	if err := os.WriteFile(s.CAFile, in.CA.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Permitted = append(s.Resolver.Peers(), s.Origin.Peers()...)
	s.Readers = s.Origin.Peers()
	s.Asking = []*internet.Host{s.Resolver.Host}
	return s
}

// Evidence is what was seen while a call was made.
type Evidence struct {
	Client    internet.Result
	Delivered bool // the origin was visited under the canary's name
	Packets   []capture.Packet
	ISP       []internet.Asked // what the client's host asked the provider in plaintext
	Authority []internet.Asked // who asked the authority for a canary of the scene
}

// Gather stops every program and collects what was seen.
func (s *Scene) Gather(t testing.TB, result internet.Result) *Evidence {
	t.Helper()
	s.StopPrograms()
	packets, err := s.Packets()
	if err != nil {
		t.Fatal(err)
	}
	e := &Evidence{Client: result, Packets: packets, ISP: s.ISP.LogOf(s.Client)}
	for _, q := range s.Authority.Log() {
		if s.isCanary(q.Name) {
			e.Authority = append(e.Authority, q)
		}
	}
	e.Delivered = slices.ContainsFunc(s.Origin.Visits(), func(v internet.Visit) bool { return v.Host == s.Canary })
	return e
}

// isCanary says whether a name is the canary, one made of it by putting something in front ("second-" or "www."), or
// one that a search list makes of it.
func (s *Scene) isCanary(name string) bool {
	return strings.HasSuffix(name, s.Canary) || strings.HasPrefix(name, s.Label+".")
}

// Leaks says in how many ways the evidence shows a leak. None is the proof.
func (s *Scene) Leaks(e *Evidence) []string {
	var leaks []string
	for _, p := range capture.Strangers(e.Packets, s.Permitted) {
		leaks = append(leaks, "a packet outside the permitted peers: "+p.String())
	}
	for _, hit := range capture.Search(e.Packets, s.Label) {
		if !slices.ContainsFunc(s.Readers, func(r capture.Peer) bool { return r.Between(hit.Packet) }) {
			leaks = append(leaks, fmt.Sprintf("the name, as %s, in %v", hit.Form, hit.Packet))
		}
	}
	for _, q := range e.ISP {
		leaks = append(leaks, "the provider was asked: "+q.String())
	}
	for _, q := range e.Authority {
		if !slices.ContainsFunc(s.Asking, func(h *internet.Host) bool { return h.Has(q.Client.Addr()) }) {
			leaks = append(leaks, "the authority was asked by a stranger: "+q.String())
		}
	}
	for _, point := range []string{"client", "isp"} {
		if e.Delivered && !slices.ContainsFunc(e.Packets, func(p capture.Packet) bool { return p.Point == point && len(p.Payload) > 0 }) {
			leaks = append(leaks, "the call arrived and no packet of it was seen at the "+point+": the capture is broken")
		}
	}
	return leaks
}

// Run plays the cell and gives the verdict. It first makes sure that the same client leaks without a proxy, and that
// a proxy which leaks is caught: both are done once for each client, scheme and family.
func (c Cell) Run(t *testing.T) *Evidence {
	t.Helper()
	c.Client.Require(t)
	if c.Scheme == "" {
		c.Scheme = c.Client.Schemes[0]
	}
	c.controls(t)

	s := NewScene(t, c.Families)
	if c.Arrange != nil {
		c.Arrange(t, s)
	}
	address := c.Start(t, s)
	if c.Before != nil {
		c.Before(t, s)
	}
	result := c.call(t, s, c.Scheme+"://"+address)
	if c.After != nil {
		c.After(t, s)
	}
	e := s.Gather(t, result)
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	c.checkOutcome(t, s, e)
	return e
}

func (c Cell) call(t testing.TB, s *Scene, proxy string) internet.Result {
	t.Helper()
	result := Run(t, c.Client.Program(s.Client, Call{URL: "https://" + s.Canary + "/", Proxy: proxy, CAFile: s.CAFile}))
	if result.Err != nil {
		t.Fatalf("%s did not run: %v", c.Client.Name, result.Err)
	}
	return result
}

func (c Cell) checkOutcome(t testing.TB, s *Scene, e *Evidence) {
	t.Helper()
	failed := e.Client.Code != 0
	switch {
	case c.Refused == "" && !e.Delivered:
		t.Errorf("the call did not arrive; %s said (exit code %d):\n%s", c.Client.Name, e.Client.Code, e.Client.Text())
	case c.Refused == "" && failed && !c.Client.Rough:
		t.Errorf("the call failed; %s said (exit code %d):\n%s", c.Client.Name, e.Client.Code, e.Client.Text())
	case c.Refused == "" && !slices.ContainsFunc(e.Authority, func(q internet.Asked) bool { return q.Name == s.Canary }):
		t.Error("the call arrived, but the authority was never asked for its name: who resolved it?")
	case c.Refused != "" && (e.Delivered || !failed):
		t.Errorf("the call should have been refused (%s), but it arrived (%v) and %s exited with %d", c.Refused, e.Delivered, c.Client.Name, e.Client.Code)
	case c.Refused != "" && c.Refused != "*" && !strings.Contains(e.Client.Text(), c.Refused):
		t.Errorf("%s was not told %s; it said:\n%s", c.Client.Name, c.Refused, e.Client.Text())
	}
}

// controlled remembers the controls that held.
var controlled struct {
	sync.Mutex
	held map[string]bool
}

// controls fails the test unless the client leaks without a proxy, and a leaky proxy is caught.
func (c Cell) controls(t *testing.T) {
	t.Helper()
	key := string(c.Families) + " " + c.Client.Name + " " + c.Scheme
	controlled.Lock()
	defer controlled.Unlock()
	if controlled.held[key] {
		return
	}
	held := 0
	both := func(t *testing.T) {
		for name, control := range map[string]func(*testing.T){"positive": c.positiveControl, "leaky": c.leakyControl} {
			t.Run(name, func(t *testing.T) {
				control(t)
				held++ // not reached by a control that is skipped, nor by one that `go test -run` leaves out
			})
		}
	}
	ok := t.Run("controls", both)
	if ok && held == 0 { // left out
		c.positiveControl(t)
		c.leakyControl(t)
		ok, held = !t.Failed(), 2
	}
	if !ok || held != 2 {
		t.Fatal("INVALID: a control did not hold, so this cell proves nothing")
	}
	if controlled.held == nil {
		controlled.held = map[string]bool{}
	}
	controlled.held[key] = true
}

// positiveControl makes the call without a proxy: the provider must read the name, in its log and in the packets.
func (c Cell) positiveControl(t *testing.T) {
	s := NewScene(t, c.Families)
	e := s.Gather(t, c.call(t, s, ""))
	if !e.Delivered {
		t.Errorf("the call did not arrive even without a proxy; %s said:\n%s", c.Client.Name, e.Client.Text())
	}
	s.mustLeak(t, e)
}

// leakyControl makes the call by way of a proxy that resolves names as the host does: the same checks must see it.
func (c Cell) leakyControl(t *testing.T) {
	s := NewScene(t, c.Families)
	address := StartOrdinaryProxy(t, s.Client)
	e := s.Gather(t, c.call(t, s, c.Scheme+"://"+address))
	if !e.Delivered {
		t.Errorf("the call did not arrive by way of the leaky proxy; %s said:\n%s", c.Client.Name, e.Client.Text())
	}
	s.mustLeak(t, e)
}

// mustLeak fails the test unless every check that can see a plaintext look-up saw one.
func (s *Scene) mustLeak(t testing.TB, e *Evidence) {
	t.Helper()
	leaks := strings.Join(s.Leaks(e), "\n")
	for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
		if !strings.Contains(leaks, want) {
			t.Errorf("a leak went unseen: nothing says %q; what was said:\n%s", want, leaks)
		}
	}
}
