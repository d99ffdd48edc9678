package daemon

import (
	"context"
	"net"

	"watertight/event"
	"watertight/front/dns"
	"watertight/metrics"
	"watertight/relay"
)

// relay carries a tunnel, and counts those that run.
func (d *Daemon) relay(ctx context.Context, client, server net.Conn) (up, down int64, err error) {
	d.tunnels.Add(1)
	defer d.tunnels.Add(-1)
	return relay.Pipe(ctx, client, server)
}

// dnsStats is what happened at the DNS door; nil where no configuration in force has one.
func (d *Daemon) dnsStats() *dns.Stats {
	d.servingMu.RLock()
	defer d.servingMu.RUnlock()
	if d.serving == nil || len(d.serving.at(kindDNS)) == 0 {
		return nil
	}
	s := d.dns.Stats()
	return &s
}

// state is what the metrics show of this moment.
func (d *Daemon) state() metrics.State {
	g := d.current()
	if g == nil {
		return metrics.State{}
	}
	ready, _ := g.ready()
	port := d.port.Stats()
	inside, lost := d.guests.open()
	s := metrics.State{
		Ready: ready, Connections: port.Open + d.transparent.Open() + inside, Tunnels: d.tunnels.Load(),
		OverLimit: port.Refused, Unknown: port.Unknown, Faults: port.Panics,
		Handshakes: map[string]uint64{string(kindProxy): port.Handshakes, string(kindAdmin): d.surface.Handshakes(), string(kindGateway): d.gateway.Handshakes()},
	}
	if stats := d.dnsStats(); stats != nil {
		s.Handshakes[string(kindDNS)] = stats.Handshakes
		s.DNS = &metrics.DNSState{Queries: stats.Queries, Dropped: stats.Dropped(), Truncated: stats.Truncated}
	}
	if n := d.transparent.Dropped(); n > 0 {
		s.Datagrams = append(s.Datagrams, metrics.DroppedDatagrams{Door: event.DoorTransparentUDP, Reason: "limit", Number: n})
	}
	if lost > 0 {
		s.Datagrams = append(s.Datagrams, metrics.DroppedDatagrams{Door: event.DoorExecUDP, Reason: "limit", Number: lost})
	}
	s.Certificates = d.certificateMetrics()
	s.LeakTest = d.testMetrics()
	s.Guard = d.guard.metrics()
	for reason, n := range d.socks.Dropped().ByReason() {
		s.Datagrams = append(s.Datagrams, metrics.DroppedDatagrams{Door: event.DoorSOCKS5UDP, Reason: reason, Number: n})
	}
	for _, r := range g.channels {
		c := metrics.ChannelState{Name: r.Name(), Identities: r.Partitions(), Peers: tunnelState(r)}
		c.Members, c.PoolRefused = poolMetrics(r)
		if stats, ok := r.ResolverStats(); ok {
			c.Cache = metrics.CacheState{
				Entries: stats.Entries, Octets: stats.Octets, MaxOctets: stats.MaxOctets, Hits: stats.Hits, Misses: stats.Misses,
				Stale: stats.Stale, Evicted: stats.Evicted, Prefetched: stats.Prefetch,
			}
			c.SeesName = stats.Asked
			for _, u := range stats.Upstreams {
				c.Upstreams = append(c.Upstreams, u.Healthy)
			}
		}
		s.Channels = append(s.Channels, c)
	}
	return s
}
