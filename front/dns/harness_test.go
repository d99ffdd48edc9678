package dns

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/fault"
)

type ctx = context.Context

// zone is a handler that knows what names under example mean by their first label.
type zone struct {
	asked chan Query                                                  // told of every query, if set
	hold  chan struct{}                                               // holds back names that begin with "slow", if set
	then  func(context.Context, Query) (*dnswire.Answer, error, bool) // asked first, if set
}

func (z *zone) Exchange(ctx context.Context, _ Client, q Query) (*dnswire.Answer, error) {
	if z.asked != nil {
		z.asked <- q
	}
	if z.then != nil {
		if a, err, ok := z.then(ctx, q); ok {
			return a, err
		}
	}
	label, _, _ := strings.Cut(q.Name, ".")
	if strings.HasPrefix(label, "slow") {
		select {
		case <-z.hold:
		case <-ctx.Done():
			return nil, fault.New(fault.DNSTimeout, "no answer in time", context.Cause(ctx))
		}
	}
	switch {
	case label == "missing":
		return made(q.Question, dnswire.NXDomain, "--", "example. 600 IN SOA ns.example. root.example. 1 2 3 4 60"), nil
	case label == "panic":
		panic("a name in a panic: " + q.Name)
	case label == "stranger":
		return made(dnswire.Question{Name: "other.example", Type: q.Type}, 0), nil
	case label == "large":
		var list []string
		for i := range 100 {
			list = append(list, fmt.Sprintf("%s. 60 IN A 192.0.2.%d", q.Name, i))
		}
		return made(q.Question, 0, list...), nil
	case label == "fault":
		return nil, fault.New(fault.PolicyRoute, "no route leads there", nil)
	case q.Type == dnswire.A:
		return made(q.Question, 0, q.Name+". 300 IN A 192.0.2.1"), nil
	}
	return made(q.Question, 0, "--", "example. 600 IN SOA ns.example. root.example. 1 2 3 4 60"), nil
}

// made makes an answer of records in presentation form; those after "--" are in the authority section.
func made(q dnswire.Question, rcode int, lines ...string) *dnswire.Answer {
	p := dnswire.Reply{RCode: rcode, AD: true}
	list := &p.Answer
	for _, l := range lines {
		if l == "--" {
			list = &p.Authority
			continue
		}
		r, err := dnswire.ParseRecord(l)
		if err != nil {
			panic(err)
		}
		*list = append(*list, r)
	}
	a, err := dnswire.Local(q, p)
	if err != nil {
		panic(err)
	}
	return a
}

// remembering is a zone that answers some names at once.
type remembering struct {
	zone
	known string // the first label of what is known
}

func (r *remembering) Cached(_ Client, q Query) (*dnswire.Answer, bool) {
	if label, _, _ := strings.Cut(q.Name, "."); label != r.known {
		return nil, false
	}
	return made(q.Question, 0, q.Name+". 300 IN A 192.0.2.2"), true
}

// newDoor makes a door; what o does not say is filled in for tests.
func newDoor(t testing.TB, o Options) *Door {
	t.Helper()
	if o.Handler == nil {
		o.Handler = &zone{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// here is a client on this host, and elsewhere one that is not.
func here(p Proto) Client { return Client{netip.MustParseAddrPort("127.0.0.1:5000"), p} }

func elsewhere(p Proto) Client { return Client{netip.MustParseAddrPort("198.51.100.7:5000"), p} }

// query packs a query for a name, with the ID 4711.
func query(t testing.TB, host string, typ uint16, change func(*miekg.Msg)) []byte {
	t.Helper()
	m := new(miekg.Msg).SetQuestion(miekg.Fqdn(host), typ)
	m.Id = 4711
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func edns(size uint16, options ...miekg.EDNS0) func(*miekg.Msg) {
	return func(m *miekg.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

// ask has the door answer a message as its transports do. It gives nil where there is no answer.
func ask(t testing.TB, d *Door, c Client, msg []byte) *miekg.Msg {
	t.Helper()
	var a asking
	out, next := d.begin(nil, msg, c, &a)
	switch next {
	case silence:
		return nil
	case wait:
		out = d.finish(t.Context(), nil, &a)
	}
	return read(t, out)
}

func read(t testing.TB, b []byte) *miekg.Msg {
	t.Helper()
	var m miekg.Msg
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%v\n%x", err, b)
	}
	if !m.Response {
		t.Fatalf("a query for a reply: %v", m)
	}
	return &m
}

// option finds an EDNS option of a reply.
func option[T miekg.EDNS0](m *miekg.Msg) (found T, ok bool) {
	if m.IsEdns0() == nil {
		return found, false
	}
	for _, o := range m.IsEdns0().Option {
		if o, is := o.(T); is {
			return o, true
		}
	}
	return found, false
}

func ede(m *miekg.Msg) (code uint16, text string) {
	if o, ok := option[*miekg.EDNS0_EDE](m); ok {
		return o.InfoCode, o.ExtraText
	}
	return 0xFFFF, ""
}

func contextWithCancel(t testing.TB) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return c, cancel
}

// waitFor waits until something that other goroutines do has happened.
func waitFor(t testing.TB, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// run runs a Serve method until the test ends, and gives what ends it sooner and waits for it.
func run(t testing.TB, serve func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	ended := false
	stop = func() {
		t.Helper()
		cancel()
		if ended {
			return
		}
		ended = true
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve gave %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve did not end")
		}
	}
	t.Cleanup(stop)
	return stop
}
