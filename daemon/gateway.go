package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"watertight/channel"
	"watertight/config"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/front/gateway"
	"watertight/name"
	"watertight/route"
)

// newGateway makes the gateway, which has no entry before the first generation.
func (d *Daemon) newGateway(sink event.Sink) (*gateway.Gateway, error) {
	limits := d.o.Config.Limits
	return gateway.New(gateway.Options{
		Current: d.board.gatewayTable, Sink: sink, Logger: d.o.Log, Keeper: d.keeper, Connections: limits.Connections, DrainLimit: limits.Drain,
	})
}

// gatewayOf makes the table of the gateway of one generation.
func gatewayOf(c *config.Config, byName map[string]*running, table *route.Table) (*gateway.Table, error) {
	var all []gateway.Entry
	for _, g := range c.Gateway {
		e := gateway.Entry{
			Path: g.Path, To: g.To, ToPath: g.ToPath, Hosts: g.Hosts, Roots: g.CAs, NoHTTP3: g.NoHTTP3, Channel: g.Channel, Identity: g.User,
			Way: gatewayWay{table: table},
		}
		if g.Channel != "" {
			r := byName[g.Channel]
			if r == nil {
				return nil, fmt.Errorf("an entry of the gateway leads to the channel %q, which does not exist", g.Channel)
			}
			e.Way = gatewayWay{table, r.Channel}
		}
		for _, h := range g.Headers {
			e.Fields = append(e.Fields, gateway.Field{Name: h.Name, Value: h.Value})
		}
		all = append(all, e)
	}
	return gateway.NewTable(all)
}

// gatewayWay is how the gateway reaches the origins of an entry: in its channel, or in that of the routes where it names none.
type gatewayWay struct {
	table   *route.Table
	channel *channel.Channel
}

// Dial connects to a server of an origin.
func (w gatewayWay) Dial(ctx context.Context, r route.Request, at name.Target) (net.Conn, error) {
	return w.table.DialServiceIn(ctx, w.channel, r, at)
}

// DialPacket opens a flow of datagrams to a server of an origin.
func (w gatewayWay) DialPacket(ctx context.Context, r route.Request, at name.Target) (net.Conn, error) {
	return w.table.DialServicePacketIn(ctx, w.channel, r, at)
}

// CarriesPackets says whether the channel carries datagrams.
func (w gatewayWay) CarriesPackets(r route.Request) bool {
	return w.table.CarriesPacketsIn(w.channel, r)
}

// Ask asks a question about an origin.
func (w gatewayWay) Ask(ctx context.Context, r route.Request, q dnswire.Question) (*dnswire.Answer, error) {
	return w.table.AskIn(ctx, w.channel, r, q)
}

// gatewayTable gives the gateway the table of the generation in force.
func (s *switchboard) gatewayTable() (*gateway.Table, func()) {
	g := s.acquire()
	return g.gateway, g.release
}

// termsOf are those of a listener of the gateway.
func (a wishes) termsOf(l config.GatewayListener) *gateway.Terms {
	return &gateway.Terms{Hosts: l.Hosts, Origins: l.Origins, Rules: l.Rules().ForTest(), TLS: a.triedTLS(l.ServerTLS)}
}

// gatewayTerms gives those of the gateway's listener that are in force.
func (l *listener) gatewayTerms() gateway.Terms {
	if t := l.terms.Load(); t != nil {
		return *t
	}
	return gateway.Terms{}
}

// hosted is the dialer of the doors of the mixed port: the switchboard's, but that the gateway's own address, which clients
// ask the proxy for unless NO_PROXY lists it, is served in this process and is no loop.
type hosted struct {
	d    *Daemon
	sink event.Sink
}

// Dial connects for a door.
func (h hosted) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	l := h.d.gatewayAt(r)
	if l == nil {
		return h.d.board.Dial(ctx, r)
	}
	at := l.address()
	if a, ok := r.Target.Host().Addr(); ok {
		at = netip.AddrPortFrom(a, at.Port())
	} else {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	conn, err := h.d.gateway.Connect(net.TCPAddrFromAddrPort(r.Client), net.TCPAddrFromAddrPort(at), l.gatewayTerms)
	e := event.Request{Door: r.Door, Client: r.Client, Identity: r.Identity, Target: r.Target}
	if err != nil {
		f := fault.New(fault.NotReady, "the gateway is about to end", err)
		e.Code, f.Target = f.Code, r.Target.String()
		h.sink.Request(&e)
		return nil, f
	}
	h.sink.Request(&e)
	return conn, nil
}

// gatewayAt gives the listener of the gateway that a client of this host asks for; nil where it asks for anything else. A
// client of another host is not let in by the back door: it could not reach a listener on loopback by itself.
func (d *Daemon) gatewayAt(r route.Request) *listener {
	if !r.Client.Addr().Unmap().IsLoopback() {
		return nil
	}
	d.servingMu.RLock()
	serving := d.serving
	d.servingMu.RUnlock()
	if serving == nil {
		return nil
	}
	i := slices.IndexFunc(serving.all, func(l *listener) bool { return l.kind == kindGateway && isAt(l.address(), r.Target) })
	if i < 0 {
		return nil
	}
	return serving.all[i]
}

// isAt says whether a target is where a socket listens: by its address, by loopback where it listens on every one, or by
// localhost where it listens on loopback.
func isAt(at netip.AddrPort, t name.Target) bool {
	if t.Port() != at.Port() {
		return false
	}
	here := at.Addr().Unmap()
	if host, named := t.Host().Name(); named {
		return host == "localhost" && (here.IsLoopback() || here.IsUnspecified())
	}
	a, _ := t.Host().Addr()
	return a == here || here.IsUnspecified() && a.IsLoopback()
}
