package wireguard_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"watertight/fault"
	"watertight/name"
	"watertight/wireguard"
)

func TestARefusalBehindThePeerIsTheTargets(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	tunnel := w.open(w.config(peerAt.String()))
	_, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	wantFault(t, err, fault.ConnectRefused, originAt.String())
}

func TestAPeerThatIsDeadOrDoesNotKnowTheKeyIsNamedAndNothingElseIsDialled(t *testing.T) {
	wrong := func(w *world, c *wireguard.Config) {
		w.start(peerAt)
		c.PrivateKey = newPair(t).private
	}
	for what, arrange := range map[string]struct {
		do   func(*world, *wireguard.Config)
		says string
	}{
		"nobody listens":    {func(*world, *wireguard.Config) {}, "nothing listens there"},
		"it is silent":      {func(w *world, _ *wireguard.Config) { w.outside.Blackhole(peerAt, true) }, "did not answer the handshake"},
		"the wrong key":     {wrong, "did not answer the handshake"},
		"the wrong far key": {func(w *world, c *wireguard.Config) { w.start(peerAt); c.Peers[0].PublicKey = newPair(t).public }, "did not answer the handshake"},
		"a preshared key too many": {func(w *world, c *wireguard.Config) {
			w.start(peerAt)
			c.Peers[0].PresharedKey = wireguard.PresharedKey{1}
		}, "did not answer the handshake"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.config(peerAt.String())
			arrange.do(w, &c)
			tunnel := w.open(c)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
			wantFault(t, err, fault.HopRefused, "the WireGuard peer "+peerAt.String(), arrange.says)
			_, err = tunnel.DialPacket(ctx, name.Must(originAt.String()))
			wantFault(t, err, fault.HopRefused, "the WireGuard peer "+peerAt.String())
			for _, to := range w.sent() {
				if to != peerAt {
					t.Errorf("a datagram went to %v", to)
				}
			}
			if got := w.behind.Dials(); len(got) != 0 {
				t.Errorf("%v was dialled behind the peer", got)
			}
		})
	}
}

func TestTheNameOfAnEndpointIsLookedUpUnderneathAndAgainWhenThePeerHasMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.origin(originAt)
	w.point("vpn.example.com", peerAt.Addr())
	first := w.start(peerAt)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first.Close()
	w.outside.Blackhole(peerAt, true)
	w.point("vpn.example.com", movedAt.Addr())
	w.start(movedAt)
	// The device takes 15 seconds to doubt a peer, and 5 more to repeat a handshake. What was sent into the old peer is
	// lost, with the connection through it.
	_, _ = conn.Write([]byte("is anybody there?"))
	for deadline := time.Now().Add(2 * patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		again, err := tunnel.Dial(ctx, name.Must(originAt.String()))
		cancel()
		if err == nil {
			again.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lookups) < 2 || w.lookups[0] != "vpn.example.com" {
		t.Errorf("%v was looked up", w.lookups)
	}
	if !slices.Contains(w.dialled, movedAt) {
		t.Errorf("datagrams went to %v", w.dialled)
	}
}

func TestOnAnotherNetworkATunnelGoesOnByANewFlow(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	w.origin(originAt)
	tunnel := w.open(w.config(peerAt.String()))
	tunnel.Roam() // it is not up
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := len(w.sent())
	tunnel.Roam()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if got := w.sent(); len(got) <= before || got[len(got)-1] != peerAt {
		t.Errorf("the flows were to %v, %d of them before", got, before)
	}
}

func TestAnEndpointThatDoesNotExistIsSaid(t *testing.T) {
	w := newWorld(t)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
	wantFault(t, err, fault.HopRefused, "the WireGuard peer vpn.example.com:51820", "does not exist")
	if got := w.sent(); len(got) != 0 {
		t.Errorf("%v was dialled", got)
	}
}

func TestAnotherAddressOfAnEndpointIsTriedWhereOneIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.origin(originAt)
	w.outside.Blackhole(peerAt, true)
	w.point("vpn.example.com", peerAt.Addr(), movedAt.Addr())
	w.start(movedAt)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestADialThatIsGivenUpSaysSo(t *testing.T) {
	w := newWorld(t)
	w.outside.Blackhole(peerAt, true)
	tunnel := w.open(w.config(peerAt.String()))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
	wantFault(t, err, fault.ConnectTimeout, "given up")
}
