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

// h3Channel is a configuration whose traffic goes to the channel `far`, through an HTTP/3 proxy that has a name.
type h3Channel struct {
	via    transport // by which the resolver of `far` is asked
	change func(*proxytest.H3Options)

	host     *internet.Host
	proxy    *proxytest.H3Proxy
	resolver *internet.Resolver // of `far`
}

const portH3 = 443

func (f *h3Channel) name(s *lab.Scene) string { return "gw-" + s.Label + ".example.net" }

// arrange connects the proxy and the resolver of `far`. The client's host may speak to the proxy in datagrams and to the
// resolver of the channel underneath, and to nobody else.
func (f *h3Channel) arrange(t testing.TB, s *lab.Scene) {
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
	o := proxytest.H3Options{Connect: reach(f.host.Dial), Packets: reach(f.host.DialUDP)}
	if f.change != nil {
		f.change(&o)
	}
	f.proxy = proxytest.ServeH3(lab.Must(f.host.ListenUDP(portH3))(t), s.CA.Issue([]string{f.name(s)}, nil), o)
	t.Cleanup(func() { f.proxy.Close() })
	f.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	s.Permitted = append(s.Resolver.Peers(), f.host.Peers(capture.UDP, portH3)...)
	s.Readers = nil // it is told everything inside of QUIC
	s.Asking = []*internet.Host{f.resolver.Host}
}

func (f *h3Channel) config(s *lab.Scene) string {
	there := *s
	there.Resolver = f.resolver
	proxy := fmt.Sprintf("{url: \"h3://%s\", ca: %q}", f.name(s), s.CAFile)
	return direct(s, s.Resolver.DoTURL()) + "  far: {over: direct, proxy: " + proxy + ", resolver: " + resolver(s, f.via.written(&there, "")) +
		"}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

func (f *h3Channel) cell() lab.Cell { return lab.Cell{Arrange: f.arrange, Start: with(f.config)} }

// refusesFromTheStart plays a cell in which the channel never becomes ready: the client is told why, and nobody is asked.
func (f *h3Channel) refusesFromTheStart(t *testing.T, why string) {
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

func TestDatagrams_GoThroughHTTP3OrNowhere(t *testing.T) {
	t.Parallel()
	for _, via := range append(inDatagrams(), named("dot")) {
		for _, families := range internet.AllFamilies() {
			t.Run("D2/"+via.name+"/h3/"+string(families), func(t *testing.T) {
				far := &h3Channel{via: via}
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
		t.Run("D2/"+via.name+"/h3/the hop is dead", func(t *testing.T) {
			far := &h3Channel{via: via}
			c := far.cell()
			c.Refused = "(HOP_REFUSED)"
			c.Before = func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				far.proxy.Close()
			}
			run(t, c)
		})
		t.Run("D2/"+via.name+"/h3/the hop is somebody else", func(t *testing.T) {
			far := &h3Channel{via: via, change: func(o *proxytest.H3Options) {
				o.TLS = func(c *tls.Config) {
					c.Certificates = []tls.Certificate{dnstest.NewCA().Issue([]string{"other.example.net"}, nil)}
				}
			}}
			far.refusesFromTheStart(t, "cannot be trusted")
		})
		if via.datagrams {
			t.Run("D2/"+via.name+"/h3/the hop carries connections only", func(t *testing.T) {
				far := &h3Channel{via: via, change: func(o *proxytest.H3Options) { o.NoUDP = true }}
				far.refusesFromTheStart(t, "refused to carry datagrams: it does not speak connect-udp")
			})
		}
	}
}
