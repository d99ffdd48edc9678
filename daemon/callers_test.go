package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"watertight/event"
)

func TestCallers_areASampleOfThoseThatResolvedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := newCallers()
		var looks atomic.Int64
		go c.Run(ctx, func(at netip.AddrPort) (string, int, bool) {
			looks.Add(1)
			return fmt.Sprintf("node (%d)", at.Port()), 1000, at.Port() < 5000
		})
		ask := func(client string, door event.Door, resolved bool) {
			c.Request(&event.Request{Client: netip.MustParseAddrPort(client), Door: door, ClientResolved: resolved})
			synctest.Wait()
		}
		pass := func() { time.Sleep(callerPause); synctest.Wait() }
		ask("127.0.0.1:4000", event.DoorSOCKS5, true)
		for range 100 {
			ask("127.0.0.1:4001", event.DoorSOCKS5, true) // of these one waits
		}
		if got := c.all(); len(got) != 1 || looks.Load() != 1 || got[0].Process != "node (4000)" || *got[0].UID != 1000 || got[0].Door != "socks5" {
			t.Errorf("%d looks, %+v", looks.Load(), got)
		}
		pass()
		pass()
		ask("127.0.0.1:4000", event.DoorSOCKS5, true)
		pass()
		if got := c.all(); len(got) != 2 || looks.Load() != 3 || got[0].Process != "node (4000)" || !got[0].Last.After(got[1].Last) {
			t.Errorf("%d looks, %+v", looks.Load(), got)
		}
		ask("127.0.0.1:4002", event.DoorSOCKS5, false)     // gave a name
		ask("127.0.0.1:4002", event.DoorExec, true)        // is in another network
		ask("127.0.0.1:4002", event.DoorSOCKS5UDP, true)   // has no connection
		ask("127.0.0.1:5000", event.DoorTransparent, true) // is gone
		pass()
		ask("192.0.2.7:5000", event.DoorCONNECT, true)
		pass()
		if got := c.all(); len(got) != 3 || looks.Load() != 5 || got[0].Address != "192.0.2.7" || got[0].UID != nil || got[0].Process != "" {
			t.Errorf("%d looks, %+v", looks.Load(), got)
		}
		for i := range 2 * maxCallers {
			ask(fmt.Sprintf("127.0.0.1:%d", 100+i), event.DoorCONNECT, true)
			pass()
		}
		if got := c.all(); len(got) != maxCallers || got[0].Process != fmt.Sprintf("node (%d)", 100+2*maxCallers-1) {
			t.Errorf("%+v", got)
		}
	})
}
