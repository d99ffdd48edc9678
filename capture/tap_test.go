package capture_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"watertight/capture"
	"watertight/contain"
	"watertight/lab"
	"watertight/wire"
)

func TestMain(m *testing.M) { lab.Main(m) }

// loopback is the index of the loopback interface in every network namespace.
const loopback = 1

// onLoopback taps the loopback interface of a network of its own while fn runs.
func onLoopback(t *testing.T, fn func(tap *capture.Tap, space *contain.Net)) *capture.Tap {
	t.Helper()
	lab.Inside(t)
	space := lab.Must(contain.NewNet())(t)
	defer space.Close()
	var tap *capture.Tap
	if err := space.Do(func() (err error) {
		tap, err = capture.Open("loopback", loopback)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- tap.Run(ctx) }()
	fn(tap, space)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return tap
}

func sendUDP(t *testing.T, space *contain.Net, count int, payload []byte) {
	t.Helper()
	if err := space.Do(func() error {
		conn, err := wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			return err
		}
		defer conn.Close()
		for range count {
			if _, err := conn.WriteToUDPAddrPort(payload, netip.MustParseAddrPort("127.0.0.1:9")); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestTap_HasReadAllThatCameBeforeTheMarkerItWaitedFor(t *testing.T) {
	const count = 3000
	onLoopback(t, func(tap *capture.Tap, space *contain.Net) {
		sendUDP(t, space, count, []byte(name))
		frame, seen := tap.Expect(1)
		if err := space.Do(func() error { return wire.SendFrame(loopback, frame) }); err != nil {
			t.Fatal(err)
		}
		<-seen
		packets := tap.Packets()
		sent := slices.DeleteFunc(slices.Clone(packets), func(p capture.Packet) bool { return p.Proto != capture.UDP || !p.Outgoing })
		if len(sent) != count {
			t.Errorf("%d of %d packets were seen", len(sent), count)
		}
		if hits := capture.Search(sent, name); len(hits) != len(sent) {
			t.Errorf("the name was found in %d of %d packets", len(hits), len(sent))
		}
		for _, p := range packets {
			if p.Proto == capture.Other {
				t.Errorf("the marker was kept: %x", p.Frame)
			}
		}
	})
}

func TestTap_KeepsAPacketOfTheGreatestLengthWhole(t *testing.T) {
	payload := make([]byte, 65507-len(name)) // the most that UDP over IPv4 carries
	payload = append(payload, name...)
	tap := onLoopback(t, func(_ *capture.Tap, space *contain.Net) { sendUDP(t, space, 1, payload) })
	for _, p := range tap.Packets() {
		if len(p.Payload) == len(payload) && p.Length == len(p.Frame) {
			return
		}
	}
	t.Errorf("it was not seen whole: %v", tap.Packets())
}

func TestTap_IsRefusedWhereThereIsNoInterface(t *testing.T) {
	lab.Inside(t)
	if _, err := capture.Open("nowhere", 4711); err == nil {
		t.Error("an interface that does not exist was tapped")
	}
}

func TestTap_IsIncompleteIfAPacketWasCut(t *testing.T) {
	tap := capture.NewTap()
	tap.Keep(wire.Frame{Length: 60, Data: make([]byte, 60)})
	if err := tap.Complete(); err != nil {
		t.Error(err)
	}
	tap.Keep(wire.Frame{Length: 61, Data: make([]byte, 60)})
	if err := tap.Complete(); !errors.Is(err, capture.ErrIncomplete) {
		t.Errorf("a packet of 61 octets of which 60 were seen: %v", err)
	}
}
