package daemon

import (
	"time"

	"watertight/control"
	"watertight/metrics"
)

// tunnelStatus tells how a channel's tunnel does, where it has one.
func tunnelStatus(r *running, c *control.Channel) {
	peers, ok := r.TunnelStats()
	if !ok {
		return
	}
	c.Hops = append(c.Hops, tunnelText(r.Spec().WireGuard))
	for _, p := range peers {
		peer := control.Peer{Endpoint: p.Endpoint, SentBytes: p.Sent, ReceivedBytes: p.Received}
		if !p.Handshake.IsZero() {
			age := int64(time.Since(p.Handshake).Seconds())
			peer.HandshakeSeconds = &age
		}
		c.WireGuard = append(c.WireGuard, peer)
	}
}

// tunnelState is the same for the metrics.
func tunnelState(r *running) (all []metrics.PeerState) {
	peers, _ := r.TunnelStats()
	for _, p := range peers {
		state := metrics.PeerState{Sent: p.Sent, Received: p.Received, Age: -1}
		if !p.Handshake.IsZero() {
			state.Age = time.Since(p.Handshake)
		}
		all = append(all, state)
	}
	return all
}
