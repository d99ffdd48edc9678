package dns

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/wire"
)

// owner is an authority that is silent about names of that kind.
type owner struct{ heard chan Arrival }

func (o owner) Answer(_ context.Context, a Arrival) *Reply {
	o.heard <- a
	switch a.Name {
	case "silent.example":
		return nil
	case "cut.example":
		return &Reply{Truncated: true}
	case "panic.example":
		panic("an authority that fails")
	}
	return &Reply{Authoritative: true, Reply: dnswire.Reply{Answer: []dnswire.Record{dnswire.AddrRecord(a.Name, 5, netip.MustParseAddr("192.0.2.1"))}}}
}

func newOwned(t testing.TB) (*Door, owner) {
	t.Helper()
	o := owner{make(chan Arrival, 100)}
	d, err := New(Options{Authority: o, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Unproven: 3})
	if err != nil {
		t.Fatal(err)
	}
	return d, o
}

func TestAnAuthorityHearsWhoAsks(t *testing.T) {
	d, o := newOwned(t)
	msg := query(t, "WWW.example.", miekg.TypeA, func(m *miekg.Msg) {
		m.RecursionDesired = false
		m.SetEdns0(1400, true)
		m.IsEdns0().Hdr.Ttl |= 1 << 14
		m.IsEdns0().Option = []miekg.EDNS0{
			&miekg.EDNS0_COOKIE{Code: miekg.EDNS0COOKIE, Cookie: "0123456789abcdef"},
			&miekg.EDNS0_SUBNET{Code: miekg.EDNS0SUBNET, Family: 1, SourceNetmask: 8, Address: net.IPv4(10, 0, 0, 0)},
		}
	})
	r := ask(t, d, elsewhere(TCP), msg)
	if !r.Authoritative || r.RecursionAvailable || len(r.Answer) != 1 || r.Question[0].Name != "WWW.example." {
		t.Errorf("%v", r)
	}
	want := Arrival{
		Client: elsewhere(TCP), Query: Query{Question: dnswire.Question{Name: "www.example", Type: dnswire.A}, DNSSEC: true}, Spelled: "WWW.example",
		EDNS: true, UDPSize: 1400, Cookie: true, Compact: true, Subnet: netip.MustParsePrefix("10.0.0.0/8"),
	}
	if got := <-o.heard; got != want {
		t.Errorf("%+v", got)
	}
	if s, ok := option[*miekg.EDNS0_SUBNET](r); !ok || s.SourceScope != 8 {
		t.Errorf("%v", r)
	}
	ask(t, d, elsewhere(UDP), query(t, "www.example.", miekg.TypeA, nil))
	if got := <-o.heard; got.EDNS || got.UDPSize != 0 || got.Cookie || got.Subnet.IsValid() {
		t.Errorf("%+v", got)
	}
}

func TestAnAuthorityIsNotAskedWhatIsNoQuestion(t *testing.T) {
	d, o := newOwned(t)
	for _, change := range []func(*miekg.Msg){
		func(m *miekg.Msg) { m.Opcode = miekg.OpcodeNotify },
		func(m *miekg.Msg) { m.Question[0].Qtype = miekg.TypeAXFR },
		func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS },
		func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassANY },
		edns(1232, &miekg.EDNS0_LOCAL{Code: miekg.EDNS0SUBNET, Data: []byte{1}}),
	} {
		if r := ask(t, d, elsewhere(TCP), query(t, "www.example.", miekg.TypeA, change)); r.Rcode == 0 || r.RecursionAvailable {
			t.Errorf("%v", r)
		}
	}
	if len(o.heard) > 0 {
		t.Errorf("%+v", <-o.heard)
	}
}

func TestAnAuthoritysFaultIsToldAndItsSilenceKept(t *testing.T) {
	d, _ := newOwned(t)
	if r := ask(t, d, elsewhere(TCP), query(t, "panic.example.", miekg.TypeA, nil)); r.Rcode != miekg.RcodeServerFailure {
		t.Errorf("%v", r)
	}
	if r := ask(t, d, elsewhere(HTTPS), query(t, "silent.example.", miekg.TypeA, nil)); r.Rcode != miekg.RcodeServerFailure {
		t.Errorf("%v", r)
	}
	for p, want := range map[Proto]bool{UDP: true, TCP: false, TLS: false} {
		if r := ask(t, d, elsewhere(p), query(t, "cut.example.", miekg.TypeA, nil)); r.Truncated != want {
			t.Errorf("%v: %v", p, r)
		}
	}
	if out := d.Datagram(t.Context(), query(t, "silent.example.", miekg.TypeA, nil), elsewhere(UDP).Addr); out != nil {
		t.Errorf("%x", out)
	}
}

func TestASilentAuthorityDoesNotHoldUpAConnection(t *testing.T) {
	d, _ := newOwned(t)
	l, err := wire.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error { return d.ServeTCP(ctx, l) })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for _, name := range []string{"silent.example.", "www.example."} {
		if _, err := conn.Write(framed(query(t, name, miekg.TypeA, nil))); err != nil {
			t.Fatal(err)
		}
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	if m := read(t, b); m.Question[0].Name != "www.example." {
		t.Errorf("%v", m)
	}
}

func TestWhoIsNotProvenHasARateAndALengthOfItsOwn(t *testing.T) {
	d, _ := newOwned(t)
	msg := query(t, "www.example.", miekg.TypeA, nil)
	whole := 0
	for range 20 {
		if r := ask(t, d, elsewhere(UDP), msg); r != nil && !r.Truncated {
			whole++
		}
		if r := ask(t, d, elsewhere(TCP), msg); r.Truncated || len(r.Answer) == 0 {
			t.Fatalf("over TCP: %v", r)
		}
	}
	if whole == 0 || whole > 4 { // of three a second
		t.Errorf("%d answers", whole)
	}
	long := query(t, "www.example.", miekg.TypeA, edns(1232))
	d.o.Amplification = 1
	if r := ask(t, d, here(UDP), long); !r.Truncated {
		t.Errorf("a forger on this host gets more than it sends: %v", r)
	}
}

func TestADoorHasAHandlerOrAnAuthority(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, o := range []Options{{Logger: log}, {Logger: log, Handler: &zone{}, Authority: owner{}}, {Logger: log, Handler: &zone{}, Amplification: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}
