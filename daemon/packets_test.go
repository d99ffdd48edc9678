package daemon

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"watertight/event"
	"watertight/fault"
	"watertight/lab/memory"
	"watertight/name"
	"watertight/route"
)

// flow opens a flow of datagrams, as a door does.
func (w *world) flow(to string) (net.Conn, error) {
	return w.g.table.DialPacket(w.t.Context(), datagramsTo(to))
}

func datagramsTo(to string) route.Request {
	return route.Request{Door: event.DoorSOCKS5UDP, Client: netip.MustParseAddrPort("127.0.0.1:50000"), Target: name.Must(to)}
}

// runOn is ready with what the generation is built with.
func (w *world) runOn(s shared, text string) {
	w.t.Helper()
	g := w.runWith(s, text)
	ctx, cancel := context.WithTimeout(w.t.Context(), later)
	defer cancel()
	if !g.await(ctx) {
		_, why := g.ready()
		w.t.Fatalf("it did not get ready: %q", why)
	}
	synctest.Wait() // the resolver has been asked for its own record too
}

// onPackets runs a configuration on a ground that carries datagrams.
func (w *world) onPackets(text string) {
	w.t.Helper()
	s := w.shared()
	s.ground = w.PacketGround(memory.Program)
	w.runOn(s, text)
}

func TestDatagrams_areRefusedWhereTheHopsCarryConnectionsOnly(t *testing.T) {
	for _, v := range []way{byCONNECT, byChain} {
		t.Run(string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.onPackets(w.text())
				for _, to := range []string{target, "93.184.216.34:443"} {
					quiet, asked := w.Quiet(), len(w.own.Log())+len(w.below.Log())
					_, err := w.flow(to)
					w.isFault(err, to, fault.HopRefused, "carries no datagrams")
					if since := quiet(); len(since) > 0 || len(w.own.Log())+len(w.below.Log()) != asked {
						t.Errorf("%s was refused, and yet %q", to, since)
					}
				}
			})
		})
	}
}

func TestDatagrams_areUnderThePolicyOfConnections(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		w.extra = "policy: {client_resolved: refuse}\n"
		w.onPackets(w.text())
		for to, code := range map[string]fault.Code{
			"9.9.9.9:53":                 fault.PolicyForeignResolver,
			hostName + ":53":             fault.PolicyForeignResolver,
			"224.0.0.251:5353":           fault.PolicyForeignResolver,
			hostName + ":853":            fault.PolicyForeignResolver,
			"dns.quad9.net:443":          fault.PolicyForeignResolver,
			"1.1.1.1:443":                fault.PolicyForeignResolver,
			"10.0.0.1:5060":              fault.PolicyPrivateTarget,
			"127.0.0.1:8080":             fault.PolicyPrivateTarget,
			"239.255.255.250:1900":       fault.PolicyPrivateTarget,
			"[ff02::c]:1900":             fault.PolicyPrivateTarget,
			"93.184.216.34:443":          fault.PolicyClientResolved,
			"[2606:2800:220:1::34]:3478": fault.PolicyClientResolved,
		} {
			quiet := w.Quiet()
			_, err := w.flow(to)
			w.isFault(err, to, code, "")
			if since := quiet(); len(since) > 0 {
				t.Errorf("%s was refused, and yet %q", to, since)
			}
			if e := w.sink.last(); e.Code != code || e.Door != event.DoorSOCKS5UDP {
				t.Errorf("%s was reported as %+v", to, e)
			}
		}
	})
}

func TestDatagrams_goToOneHostWhateverIsAllowed(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		w.extra = "policy: {private_targets: allow, client_resolved: allow}\n"
		w.onPackets(w.text())
		for _, to := range []string{"239.255.255.250:1900", "[ff02::c]:1900", "255.255.255.255:67"} {
			_, err := w.flow(to)
			w.isFault(err, to, fault.PolicyPrivateTarget, "many hosts")
		}
	})
}

func TestDatagrams_goToTheAddressThatTheChannelFound(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		w.onPackets(w.text())
		flow, err := w.flow(target)
		if err != nil {
			t.Fatal(err)
		}
		defer flow.Close()
		if w.Dials(originAt) != 1 {
			t.Error("the address of the name was not dialled")
		}
		if e := w.sink.last(); e.Code != "" || e.Channel != "direct" || e.Target != name.Must(target) {
			t.Errorf("it was reported as %+v", e)
		}
	})
}
