package cells

import (
	"net/netip"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// The far end of the tunnel is at another address from one moment to the next. What it sends from there proves to be its, and
// the tunnel goes on to there; what a stranger sends again of that does not.
func TestWireGuard_AFarEndThatMovesIsFollowedAndNobodyElse(t *testing.T) {
	f := &vpnChannel{moves: true}
	c := f.cell()
	c.Families = internet.V4
	var stranger *internet.Host
	c.Arrange = func(t testing.TB, s *lab.Scene) {
		f.arrange(t, s)
		stranger = lab.Must(s.AddHost("stranger"))(t)
		s.Permitted = append(s.Permitted, stranger.Peers(capture.UDP, 0)...) // what comes from it is looked at below
	}
	c.Before = func(t testing.TB, s *lab.Scene) {
		served(t, s, other(s, "before"))
		socket, data := f.fromPeer(t, s, f.peer.Addr())
		conn := lab.Must(stranger.DialUDP(t.Context(), socket))(t)
		for _, b := range data {
			lab.Must(conn.Write(b))(t)
		}
		served(t, s, other(s, "again"))
		servers.Move(t, f.peer, tunnelMoved)
		await(t, "the peer sends from its new address", func() bool {
			_, data := f.fromPeer(t, s, tunnelMoved)
			return len(data) > 0
		})
	}
	c.After = func(t testing.TB, s *lab.Scene) {
		f.carried(t, s)
		if n := outgoing(t, s, stranger.Addr()); n > 0 {
			t.Errorf("%d datagrams went to a stranger", n)
		}
		if outgoing(t, s, tunnelMoved) == 0 {
			t.Error("nothing went to the new address")
		}
	}
	run(t, c)
}

// fromPeer gives where the tunnel's socket is, and what came to it from an address of the peer.
func (f *vpnChannel) fromPeer(t testing.TB, s *lab.Scene, from netip.Addr) (socket netip.AddrPort, data [][]byte) {
	t.Helper()
	for _, p := range lab.Must(s.Packets())(t) {
		if p.Proto == capture.UDP && !p.Outgoing && p.From.Addr() == from && s.Client.Has(p.To.Addr()) && p.Point == s.Client.Name {
			socket, data = p.To, append(data, p.Payload)
		}
	}
	return socket, data
}

// outgoing counts the datagrams that the client sent to an address.
func outgoing(t testing.TB, s *lab.Scene, to netip.Addr) (n int) {
	t.Helper()
	for _, p := range lab.Must(s.Packets())(t) {
		if p.Proto == capture.UDP && p.Outgoing && p.To.Addr() == to && p.Point == s.Client.Name {
			n++
		}
	}
	return n
}
