package wireguard

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/name"
)

// stuck is a flow whose second writing waits until the flow is closed, and a little more.
type stuck struct {
	net.Conn
	wrote   int
	closed  chan struct{}
	writing chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.wrote++; s.wrote == 1 {
		return len(b), nil
	}
	close(s.writing)
	<-s.closed
	time.Sleep(2 * openPause)
	return 0, net.ErrClosed
}

func (s *stuck) Close() error { close(s.closed); return nil }

// sink is a flow that takes everything.
type sink struct {
	net.Conn
	closed bool
}

func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) Close() error                { s.closed = true; return nil }

func TestAWriteThatFailsLateDoesNotOpenAFlowBesideTheOneThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &stuck{closed: make(chan struct{}), writing: make(chan struct{})}
		var later []*sink
		f := newFlow(0, name.Must("198.51.100.1:51820"), Way{DialPacket: func(context.Context, netip.AddrPort) (net.Conn, error) {
			if first.Conn == nil {
				first.Conn = first
				return first, nil
			}
			later = append(later, &sink{})
			return later[len(later)-1], nil
		}})
		f.open()
		data := [][]byte{{transportData, 0, 0, 0}}
		_ = f.send(data)
		synctest.Wait()
		go f.send(data)
		<-first.writing
		f.roam()
		_ = f.send(data)
		time.Sleep(10 * openPause)
		synctest.Wait()
		if len(later) != 1 {
			t.Errorf("%d flows were opened after the first", len(later))
		}
		f.close()
		synctest.Wait()
		for i, s := range later {
			if !s.closed {
				t.Errorf("flow %d was left open", i)
			}
		}
	})
}
