package cells

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/proxytest"
	"watertight/name"
)

// h2Channel is a configuration whose traffic goes to the channel `far`, through an HTTP/2 proxy that has a name and carries
// datagrams too.
type h2Channel struct {
	via    transport // by which the resolver of `far` is asked
	refuse int       // the status of every answer, if it is not 0

	host     *internet.Host
	proxy    *proxytest.H2Proxy
	listener net.Listener
	resolver *internet.Resolver // of `far`
}

// name is in clear in the hello to the proxy: nothing of the scene is in it.
func (f *h2Channel) name(*lab.Scene) string { return "gw2.example.net" }

// arrange connects the proxy and the resolver of `far`. The client's host may speak to the proxy over TCP and to the resolver
// of the channel underneath, and to nobody else.
func (f *h2Channel) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	f.host = lab.Must(s.AddHost("hop"))(t)
	lab.Must(0, s.Authority.Publish(f.name(s), f.host))(t)
	reach := func(dial func(context.Context, netip.AddrPort) (net.Conn, error)) proxytest.Dial {
		return func(target name.Target) (net.Conn, error) {
			at, ok := target.AddrPort()
			if !ok {
				return nil, fmt.Errorf("the proxy was given the name %v", target.Host())
			}
			return dial(context.Background(), at)
		}
	}
	f.proxy = proxytest.NewH2(proxytest.H2Options{Connect: reach(f.host.Dial), Packets: reach(f.host.DialUDP), Refuse: f.refuse})
	f.listener = lab.Must(f.host.Listen(443))(t)
	f.proxy.Serve(f.listener, s.CA.Issue([]string{f.name(s)}, nil))
	t.Cleanup(f.end)
	f.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	s.Permitted = append(s.Resolver.Peers(), f.host.Peers(capture.TCP, 443)...)
	s.Readers = nil // it is told everything inside of TLS
	s.Asking = []*internet.Host{f.resolver.Host}
}

func (f *h2Channel) end() {
	f.listener.Close()
	f.proxy.Close()
}

func (f *h2Channel) config(s *lab.Scene) string {
	there := *s
	there.Resolver = f.resolver
	proxy := fmt.Sprintf("{url: \"h2://%s\", ca: %q}", f.name(s), s.CAFile)
	return direct(s, s.Resolver.DoTURL()) + "  far: {over: direct, proxy: " + proxy + ", resolver: " + resolver(s, f.via.written(&there, "")) +
		"}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

func (f *h2Channel) cell() lab.Cell { return lab.Cell{Arrange: f.arrange, Start: with(f.config)} }

func TestDatagrams_GoThroughHTTP2OrNowhere(t *testing.T) {
	t.Parallel()
	for _, via := range append(inDatagrams(), named("dot")) {
		for _, families := range internet.AllFamilies() {
			t.Run("D2/"+via.name+"/h2/"+string(families), func(t *testing.T) {
				far := &h2Channel{via: via}
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
					if n := far.proxy.Conns(); n != 1 {
						t.Errorf("there were %d connections to the proxy", n)
					}
				}
				run(t, c)
			})
		}
		t.Run("D2/"+via.name+"/h2/the hop is dead", func(t *testing.T) {
			far := &h2Channel{via: via}
			c := far.cell()
			c.Refused = "(HOP_REFUSED)"
			c.Before = func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				far.end()
			}
			run(t, c)
		})
		t.Run("D2/"+via.name+"/h2/the hop refuses", func(t *testing.T) {
			far := &h2Channel{via: via, refuse: 403}
			c := far.cell()
			c.Start, c.Refused = new(running).unready(far.config), "(NOT_READY)"
			c.After = func(t testing.TB, _ *lab.Scene) {
				if log := far.resolver.Log(); len(log) > 0 {
					t.Errorf("the channel's resolver was asked by %v", log[0].Client)
				}
			}
			if e := run(t, c); !strings.Contains(e.Client.Text(), "refused the request: 403") {
				t.Errorf("the client was not told why: %s", e.Client.Text())
			}
		})
	}
}
