package hop

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/fault"
	"watertight/name"
)

func TestTheNameOfALaterProxyIsResolvedUnderneathAndNotByTheProxyBefore(t *testing.T) {
	m := &memory{}
	m.at = map[string]func(net.Conn){
		"first.example:1080": m.socksProxy, "192.0.2.2:3128": m.httpProxy, "a.example:443": echo,
	}
	var asked []string
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		asked = append(asked, host)
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
	}
	chain, err := Chain(under(m, lookup), mustProxies(t, "socks5://first.example", "http://second.example:3128"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hears(t, conn, "echo")
	want := []string{"first.example:1080", "192.0.2.1:3128", "first.example:1080", "192.0.2.2:3128", "a.example:443"}
	if got := m.targets(); !slices.Equal(got, want) {
		t.Errorf("dialled %v, want %v", got, want)
	}
	if !slices.Equal(asked, []string{"second.example"}) {
		t.Errorf("asked for %v", asked)
	}
}

func TestManyAddressesOfOneFamilyLeaveRoomForTheOther(t *testing.T) {
	m := &memory{}
	m.at = map[string]func(net.Conn){"first.example:1080": m.socksProxy, "192.0.2.2:3128": m.httpProxy, "a.example:443": echo}
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		var found []netip.Addr
		for _, a := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "192.0.2.2"} {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
	chain, err := Chain(under(m, lookup), mustProxies(t, "socks5://first.example", "http://second.example:3128"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hears(t, conn, "echo")
}

// closing is a connection whose other end closes it as soon as the tunnel stands.
type closing struct{ net.Conn }

func (c closing) SetDeadline(at time.Time) error {
	if at.IsZero() {
		return io.ErrClosedPipe
	}
	return c.Conn.SetDeadline(at)
}

func TestAProxyThatClosesWithItsLastWordIsAFaultOfTheProxy(t *testing.T) {
	m := &memory{}
	m.at = map[string]func(net.Conn){"gw.example:1080": m.socksProxy, "a.example:443": echo}
	first := DialerFunc(func(ctx context.Context, to name.Target) (net.Conn, error) {
		conn, err := m.Dial(ctx, to)
		return closing{conn}, err
	})
	chain, err := Chain(under(first, noLookup), mustProxies(t, "socks5://gw.example:1080"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Dial(t.Context(), name.Must("a.example:443"))
	if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the proxy gw.example:1080 closed the connection") {
		t.Errorf("got %v", err)
	}
}
