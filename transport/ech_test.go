package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/capture"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

// publicName is what everybody may read where the hello is encrypted.
const publicName = "public.provider.example"

// onlooker is a way out that remembers what left by it: of each connection what an onlooker can read of it.
type onlooker struct {
	mu    sync.Mutex
	flows []*flow
}

// flow is one connection, or one flow of datagrams.
type flow struct {
	net.Conn
	o       *onlooker
	packets bool

	sent []byte
	quic capture.QUICHello
}

func (f *flow) Write(b []byte) (int, error) {
	f.o.mu.Lock()
	if f.sent = append(f.sent, b...); f.packets {
		f.quic.Add(b)
	}
	f.o.mu.Unlock()
	return f.Conn.Write(b)
}

func (o *onlooker) over(dial transport.Dial, packets bool) transport.Dial {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		conn, err := dial(ctx, to)
		if err != nil {
			return nil, err
		}
		f := &flow{Conn: conn, o: o, packets: packets}
		o.mu.Lock()
		o.flows = append(o.flows, f)
		o.mu.Unlock()
		return f, nil
	}
}

// watch lets an onlooker see everything that a client sends.
func watch(o *onlooker) func(*transport.Options) {
	return func(options *transport.Options) {
		options.Way.Dial = o.over(options.Way.Dial, false)
		options.Way.DialPacket = o.over(options.Way.DialPacket, true)
	}
}

// names gives the server name in the hello of each connection so far, in their order. It fails the test if the resolver's
// own name can be read in what left, unless it is one of them.
func (o *onlooker) names(t *testing.T) (names []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.flows {
		read, hello := capture.ServerName, f.sent
		if f.packets {
			read, hello = func([]byte) (string, bool) { return f.quic.ServerName() }, f.quic.Message()
		}
		host, ok := read(f.sent)
		if !ok {
			t.Errorf("a connection began without a hello that can be read: %x", f.sent)
		}
		names = append(names, host)
		if host != dnsrig.ServerName && (bytes.Contains(hello, []byte(dnsrig.ServerName)) || bytes.Contains(hello, []byte("provider"+"\x07"))) {
			t.Errorf("the name of the resolver is in what left in the clear: %q", hello)
		}
	}
	return names
}

// hiding is a resolver that takes encrypted hellos, with a client that is watched.
func hiding(t *testing.T, k upstream.Kind, ech string, tweak ...dnsrig.Tweak) (*rig, *dnstest.Server, *transport.Client, *onlooker) {
	t.Helper()
	g := newRig(t)
	tweak = append([]dnsrig.Tweak{dnsrig.With(g.CA.Issue([]string{dnsrig.ServerName, publicName}, nil))}, tweak...)
	s := g.Serve(k, first, dnsrig.Zone.Handler(), tweak...)
	spec := g.Spec(k, first)
	spec.ECH = ech
	o := &onlooker{}
	return g, s, g.client(t, dnsrig.Build(t, spec), watch(o)), o
}

func TestTheHelloIsEncryptedToTheKeysOfTheConfiguration(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		var inner []string
		_, s, c, o := hiding(t, k, keys.Text(), dnstest.Takes(keys), hears(&inner))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		s.DropConns()
		synctest.Wait()
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if log := s.Log(); !log[len(log)-1].Resumed {
			t.Error("the second connection was to resume the first")
		}
		if got := o.names(t); !slices.Equal(got, []string{publicName, publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
		if !slices.Contains(inner, dnsrig.ServerName) {
			t.Errorf("the resolver itself read %v", inner)
		}
		if st := c.Stats(time.Now()); !st.ECH {
			t.Errorf("stats %+v", st)
		}
	})
}

// hears remembers the server names that a server reads, which are the inner ones where it can.
func hears(names *[]string) dnsrig.Tweak {
	var mu sync.Mutex
	return func(c *tls.Config) {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			*names = append(*names, h.ServerName)
			return nil, nil
		}
	}
}

func TestAServerThatRejectsTheKeysAndSendsOthersIsTriedOnceWithThose(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		old, now := dnstest.NewECH(publicName, 1), dnstest.NewECH(publicName, 2)
		_, s, c, o := hiding(t, k, old.Text(), dnstest.Takes(now))
		for i, host := range []string{"four.shop.example", "one.shop.example"} {
			wantAddr(t, c, host, map[int]string{0: "192.0.2.4", 1: "192.0.2.11"}[i])
			if got := o.names(t); len(got) != 2*(i+1) || slices.Contains(got, dnsrig.ServerName) {
				t.Errorf("an onlooker read %v", got) // the keys of the retry are for the retry alone (RFC 9849, section 6.1.6)
			}
			s.DropConns()
			synctest.Wait()
		}
	})
}

func TestAServerThatRejectsTheKeysIsNeverAskedWithout(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		old, now := dnstest.NewECH(publicName, 1), dnstest.NewECH(publicName, 2)
		lying := func(c *tls.Config) { // it sends keys that it does not take itself
			dnstest.Takes(now)(c)
			c.EncryptedClientHelloKeys[0].PrivateKey = dnstest.NewECH(publicName, 2).Key()
		}
		for what, c := range map[string]struct {
			tweak dnsrig.Tweak
			conns int
		}{
			"none sent":      {func(*tls.Config) {}, 1},
			"rejected twice": {lying, 2},
		} {
			g, s, client, o := hiding(t, k, old.Text(), c.tweak)
			f := dnsrig.WantFault(t, ask(t, client, "four.shop.example"), fault.ResolverUnreachable, "rejected Encrypted Client Hello")
			if !strings.Contains(f.NextStep(), "`ech`") {
				t.Errorf("%s: hint %q", what, f.Hint)
			}
			if got := o.names(t); len(got) != c.conns || slices.Contains(got, dnsrig.ServerName) || len(g.Net.Dials()) != c.conns {
				t.Errorf("%s: an onlooker read %v", what, got)
			}
			if len(s.Log()) > 0 {
				t.Errorf("%s: it was asked %v", what, s.Names())
			}
			s.Close()
		}
	})
}

// A server in between that has no certificate for the public name could send keys of its own, and read the name.
func TestKeysAreTakenOnlyFromAServerThatProvesToBeThePublicName(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		old, now := dnstest.NewECH(publicName, 1), dnstest.NewECH(publicName, 2)
		g := newRig(t)
		spec := g.Spec(k, first)
		spec.ECH = old.Text()
		both := []string{dnsrig.ServerName, publicName}
		good := g.CA.Issue(both, nil)
		for what, c := range map[string]struct {
			cert tls.Certificate
			pins []string
			part string
		}{
			"a certificate for the public name":           {good, nil, ""},
			"and its key is pinned":                       {good, []string{dnstest.Pin(good)}, map[bool]string{true: "no key that is pinned"}[k.Packets()]}, // QUIC does not show the key
			"and another key is pinned":                   {good, []string{dnstest.NewCA().Pin()}, "no key that is pinned"},
			"a certificate for the resolver's name alone": {g.CA.Issue(both[:1], nil), nil, "it rejected Encrypted Client Hello, and its certificate does not cover " + publicName},
			"a certificate of another authority":          {dnstest.NewCA().Issue(both, nil), nil, "unknown authority"},
			"a certificate that is expired":               {g.CA.IssueLeaf(dnstest.Leaf{Names: both, NotAfter: time.Now().Add(-time.Hour)}), nil, "expired"},
		} {
			spec.Pins = c.pins
			s := g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(c.cert), dnstest.Takes(now))
			o := &onlooker{}
			err := ask(t, g.client(t, dnsrig.Build(t, spec), watch(o)), "four.shop.example")
			if c.part == "" && err != nil {
				t.Errorf("%s: %v", what, err)
			} else if c.part != "" {
				dnsrig.WantFault(t, err, fault.ResolverUntrusted, c.part)
			}
			if got := o.names(t); slices.Contains(got, dnsrig.ServerName) || len(got) != map[bool]int{true: 2, false: 1}[c.part == ""] {
				t.Errorf("%s: an onlooker read %v", what, got)
			}
			s.Close()
		}
	})
}

func TestKeysWithAPublicNameThatCouldBeAnAddressAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, now := dnstest.NewECH(publicName, 1), dnstest.NewECH("198.18.0.1", 2) // which a certificate could cover
		g, _, c, _ := hiding(t, dot, old.Text(), dnstest.Takes(now))
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUnreachable, "rejected Encrypted Client Hello")
		if n := len(g.Net.Dials()); n != 1 {
			t.Errorf("%d dials", n)
		}
	})
}

func TestThePinsHoldUnderAnEncryptedHelloToo(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler(), dnstest.Takes(keys))
		spec := g.Spec(k, first)
		spec.ECH, spec.Pins = keys.Text(), []string{dnstest.NewCA().Pin()}
		dnsrig.WantFault(t, ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example"), fault.ResolverUntrusted, "pinned")
	})
}

// A resolver that is known by its address alone sends no server name; its hello is encrypted all the same.
func TestTheHelloToALiteralAddressIsEncryptedToo(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler(), dnstest.Takes(keys))
		spec := g.Literal(k, first)
		spec.ECH = keys.Text()
		o := &onlooker{}
		wantAddr(t, g.client(t, dnsrig.Build(t, spec), watch(o)), "four.shop.example", "192.0.2.4")
		if got := o.names(t); !slices.Equal(got, []string{publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
	})
}

// vector is the list of RFC 9848, section 3; nobody here has its key.
const vector = "AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA="

func TestTheHelloUnderTheListOfTheRFCShowsItsPublicNameAndItsKey(t *testing.T) {
	list, err := base64.StdEncoding.DecodeString(vector)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		g, _, c, o := hiding(t, dot, vector)
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUntrusted, "does not cover ech-sites.example.net")
		if got := o.names(t); !slices.Equal(got, []string{"ech-sites.example.net"}) || len(g.Net.Dials()) != 1 {
			t.Errorf("an onlooker read %v", got)
		}
		// encrypted_client_hello of the outer kind with the suite and the identifier of the list (RFC 9849, section 5).
		if want := []byte{0xfe, 0x0d}; !bytes.Contains(o.flows[0].sent, want) {
			t.Errorf("no extension %x in the hello", want)
		}
		suite := append([]byte{0}, list[2+4+1+2+2+32+2:][:4]...)
		if want := append(suite, list[6]); !bytes.Contains(o.flows[0].sent, want) {
			t.Errorf("no %x in the hello", want)
		}
	})
}
