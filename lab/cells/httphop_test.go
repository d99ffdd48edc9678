package cells

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/proxytest"
	"watertight/name"
)

// httpChannel is a configuration whose traffic goes to the channel `far`, through a proxy over HTTP/2 or HTTP/3 that has a name and
// carries datagrams too.
type httpChannel struct {
	scheme string    // h2 or h3
	via    transport // by which the resolver of `far` is asked
	refuse int       // the status of every answer, if it is not 0
	change func(*proxytest.H3Options)

	host     *internet.Host
	conns    func() int // how many there were to the proxy
	end      func()     // ends the proxy
	resolver *internet.Resolver
}

const portH3 = 443

// name is in clear in a hello over TCP: nothing of the scene is in it there.
func (f *httpChannel) name(s *lab.Scene) string {
	if f.scheme == "h2" {
		return "gw2.example.net"
	}
	return "gw-" + s.Label + ".example.net"
}

// arrange connects the proxy and the resolver of `far`. The client's host may speak to the proxy, by what it speaks, and to the
// resolver of the channel underneath, and to nobody else.
func (f *httpChannel) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	f.host = lab.Must(s.AddHost("hop"))(t)
	lab.Must(0, s.Authority.Publish(f.name(s), f.host))(t)
	s.Permitted = append(s.Resolver.Peers(), f.serve(t, s.CA.Issue([]string{f.name(s)}, nil))...)
	t.Cleanup(f.end)
	f.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	s.Readers = nil // it is told everything inside of TLS or QUIC
	s.Asking = []*internet.Host{f.resolver.Host}
}

// serve starts the proxy, and says where it is.
func (f *httpChannel) serve(t testing.TB, cert tls.Certificate) []capture.Peer {
	t.Helper()
	reach := func(dial func(context.Context, netip.AddrPort) (net.Conn, error)) proxytest.Dial {
		return func(target name.Target) (net.Conn, error) {
			at, ok := target.AddrPort()
			if !ok {
				return nil, fmt.Errorf("the proxy was given the name %v", target.Host())
			}
			return dial(context.Background(), at)
		}
	}
	connect, packets := reach(f.host.Dial), reach(f.host.DialUDP)
	if f.scheme == "h2" {
		proxy := proxytest.NewH2(proxytest.H2Options{Connect: connect, Packets: packets, Refuse: f.refuse})
		listener := lab.Must(f.host.Listen(443))(t)
		proxy.Serve(listener, cert)
		f.conns, f.end = proxy.Conns, func() { listener.Close(); proxy.Close() }
		return f.host.Peers(capture.TCP, 443)
	}
	o := proxytest.H3Options{Connect: connect, Packets: packets, Refuse: f.refuse}
	if f.change != nil {
		f.change(&o)
	}
	proxy := proxytest.ServeH3(lab.Must(f.host.ListenUDP(portH3))(t), cert, o)
	f.conns, f.end = proxy.Conns, func() { proxy.Close() }
	return f.host.Peers(capture.UDP, portH3)
}

func (f *httpChannel) config(s *lab.Scene) string {
	there := *s
	there.Resolver = f.resolver
	proxy := fmt.Sprintf("{url: \"%s://%s\", ca: %q}", f.scheme, f.name(s), s.CAFile)
	return direct(s, s.Resolver.DoTURL()) + "  far: {over: direct, proxy: " + proxy + ", resolver: " + resolver(s, f.via.written(&there, "")) +
		"}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

func (f *httpChannel) cell() lab.Cell { return lab.Cell{Arrange: f.arrange, Start: with(f.config)} }

// refusesFromTheStart plays a cell in which the channel never becomes ready: the client is told why, and nobody is asked.
func (f *httpChannel) refusesFromTheStart(t *testing.T, why string) {
	t.Helper()
	c := f.cell()
	c.Start, c.Refused = new(running).unready(f.config), "(NOT_READY)"
	c.After = func(t testing.TB, _ *lab.Scene) {
		if log := f.resolver.Log(); len(log) > 0 {
			t.Errorf("the channel's resolver was asked by %v", log[0].Client)
		}
	}
	if e := run(t, c); !strings.Contains(e.Client.Text(), why) {
		t.Errorf("the client was not told %q: %s", why, e.Client.Text())
	}
}

// reachedByTheHopAlone plays the cells in which the proxy carries what comes, and in which it dies.
func reachedByTheHopAlone(t *testing.T, scheme string, via transport) {
	for _, families := range internet.AllFamilies() {
		t.Run("D2/"+via.name+"/"+scheme+"/"+string(families), func(t *testing.T) {
			far := &httpChannel{scheme: scheme, via: via}
			c := far.cell()
			c.Families = families
			c.After = func(t testing.TB, s *lab.Scene) {
				log := far.resolver.Log()
				if len(log) == 0 {
					t.Error("the channel's resolver was never asked")
				}
				for _, q := range log {
					if at, err := netip.ParseAddrPort(q.Client.String()); err != nil || !far.host.Has(at.Addr().Unmap()) {
						t.Errorf("the channel's resolver was asked by %v", q.Client)
					}
				}
				if n := far.conns(); n != 1 {
					t.Errorf("there were %d connections to the proxy", n)
				}
			}
			run(t, c)
		})
	}
	t.Run("D2/"+via.name+"/"+scheme+"/the hop is dead", func(t *testing.T) {
		far := &httpChannel{scheme: scheme, via: via}
		c := far.cell()
		c.Refused = "(HOP_REFUSED)"
		c.Before = func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "before"))
			lab.Settle(t, s)
			far.end()
		}
		run(t, c)
	})
}

func TestDatagrams_GoThroughHTTP2OrNowhere(t *testing.T) {
	t.Parallel()
	for _, via := range append(inDatagrams(), named("dot")) {
		reachedByTheHopAlone(t, "h2", via)
		t.Run("D2/"+via.name+"/h2/the hop refuses", func(t *testing.T) {
			far := &httpChannel{scheme: "h2", via: via, refuse: 403}
			far.refusesFromTheStart(t, "refused the request: 403")
		})
	}
}

func TestDatagrams_GoThroughHTTP3OrNowhere(t *testing.T) {
	t.Parallel()
	for _, via := range append(inDatagrams(), named("dot")) {
		reachedByTheHopAlone(t, "h3", via)
		t.Run("D2/"+via.name+"/h3/the hop is somebody else", func(t *testing.T) {
			far := &httpChannel{scheme: "h3", via: via, change: func(o *proxytest.H3Options) {
				o.TLS = func(c *tls.Config) {
					c.Certificates = []tls.Certificate{dnstest.NewCA().Issue([]string{"other.example.net"}, nil)}
				}
			}}
			far.refusesFromTheStart(t, "cannot be trusted")
		})
		if via.datagrams {
			t.Run("D2/"+via.name+"/h3/the hop carries connections only", func(t *testing.T) {
				far := &httpChannel{scheme: "h3", via: via, change: func(o *proxytest.H3Options) { o.NoUDP = true }}
				far.refusesFromTheStart(t, "refused to carry datagrams: it does not speak connect-udp")
			})
		}
	}
}
