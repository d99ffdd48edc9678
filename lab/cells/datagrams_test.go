package cells

import (
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// inDatagrams are the transports that travel in nothing else.
func inDatagrams() (all []transport) {
	for _, via := range transports {
		if via.datagrams {
			all = append(all, via)
		}
	}
	return all
}

// danteCell is far's with dante in the place of our own hop.
func (f *farChannel) danteCell(start func(testing.TB, *internet.Host) *internet.Process, process **internet.Process) lab.Cell {
	c := f.cell("here")
	arrange := c.Arrange
	c.Arrange = func(t testing.TB, s *lab.Scene) {
		arrange(t, s)
		f.hop.close(t)
		*process = start(t, f.hop.Host)
		s.Permitted = append(s.Resolver.Peers(), servers.DantePeers(f.hop.Host)...)
	}
	return c
}

// askedByTheHop fails the test unless the channel's resolver was asked, over the transport, and by the hop alone.
func (f *farChannel) askedByTheHop(t testing.TB, _ *lab.Scene) {
	log := f.resolver.Log()
	if len(log) == 0 {
		t.Error("the channel's resolver was never asked")
	}
	for _, q := range log {
		at, err := netip.ParseAddrPort(q.Client.String())
		if err != nil || !f.hop.Has(at.Addr().Unmap()) {
			t.Errorf("the channel's resolver was asked by %v", q.Client)
		}
		if want := map[string]dnstest.Transport{"doq": dnstest.DoQ, "doh3": dnstest.DoH}[f.via.name]; q.Transport != want {
			t.Errorf("it was asked over %s", q.Transport)
		}
	}
}

func TestDatagrams_GoThroughHopsOrNowhere(t *testing.T) {
	t.Parallel()
	for _, via := range inDatagrams() {
		for _, kind := range kinds {
			if !kind.datagrams() {
				continue
			}
			for _, families := range internet.AllFamilies() {
				t.Run("D2/"+via.name+"/"+kind.name+"/"+string(families), func(t *testing.T) {
					far := &farChannel{kind: kind, via: &via}
					c := far.cell("here")
					c.Families, c.After = families, far.askedByTheHop
					run(t, c)
				})
			}
			t.Run("D2/"+via.name+"/"+kind.name+"/the hop is dead", func(t *testing.T) {
				far := &farChannel{kind: kind, via: &via}
				c := far.cell("here")
				c.Refused = "(HOP_REFUSED)"
				c.Before = func(t testing.TB, s *lab.Scene) {
					served(t, s, other(s, "before"))
					lab.Settle(t, s)
					far.hop.close(t)
				}
				run(t, c)
			})
			t.Run("D2/"+via.name+"/"+kind.name+"/the hop carries connections only", func(t *testing.T) {
				far := &farChannel{kind: kind, via: &via}
				c := far.cell("here")
				arrange := c.Arrange
				c.Arrange = func(t testing.TB, s *lab.Scene) {
					arrange(t, s)
					far.hop.streams.Store(true)
				}
				far.refusesFromTheStart(t, c, "refused to carry datagrams: command not supported")
			})
			t.Run("A7/"+via.name+"/"+kind.name+"/the relay is given by name", func(t *testing.T) {
				far := &farChannel{kind: kind, via: &via}
				c := far.cell("here")
				arrange := c.Arrange
				c.Arrange = func(t testing.TB, s *lab.Scene) {
					arrange(t, s)
					far.hop.bound = other(s, "bound")
				}
				c.After = neverAsked("bound")
				far.refusesFromTheStart(t, c, "does not answer as a SOCKS5 proxy should")
			})
		}

		var process *internet.Process
		t.Run("D2/"+via.name+"/dante", func(t *testing.T) {
			far := &farChannel{kind: kinds[0], via: &via}
			c := far.danteCell(servers.Dante, &process)
			c.After = far.askedByTheHop
			run(t, c)
		})
		t.Run("D2/"+via.name+"/dante is dead", func(t *testing.T) {
			far := &farChannel{kind: kinds[0], via: &via}
			c := far.danteCell(servers.Dante, &process)
			c.Refused = "(HOP_REFUSED)"
			c.Before = func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				process.Kill()
				process.Wait()
			}
			run(t, c)
		})
		t.Run("D2/"+via.name+"/dante refuses datagrams", func(t *testing.T) {
			far := &farChannel{kind: kinds[0], via: &via}
			far.refusesFromTheStart(t, far.danteCell(servers.DanteWithoutUDP, &process), "refused to carry datagrams")
		})
	}
}

// refusesFromTheStart plays a cell in which the hop never carries a datagram: the client is told why, and none leaves.
func (f *farChannel) refusesFromTheStart(t *testing.T, c lab.Cell, why string) {
	t.Helper()
	after := c.After
	c.Start = new(running).unready(func(s *lab.Scene) string { return f.config(s, "here") })
	c.Refused = "(NOT_READY)"
	c.After = func(t testing.TB, s *lab.Scene) {
		if after != nil {
			after(t, s)
		}
		if log := f.resolver.Log(); len(log) > 0 {
			t.Errorf("the channel's resolver was asked by %v", log[0].Client)
		}
		for _, p := range lab.Must(s.Packets())(t) {
			if p.Proto == capture.UDP && p.Outgoing {
				t.Errorf("a datagram left: %v", p)
			}
		}
	}
	if e := run(t, c); !strings.Contains(e.Client.Text(), why) {
		t.Errorf("the client was not told %q: %s", why, e.Client.Text())
	}
}
