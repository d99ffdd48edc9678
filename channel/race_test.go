package channel

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/name"
)

func TestHappyEyeballsTriesTheOtherFamilyAfterAQuarterSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"dual.example.com. 60 A 203.0.113.7", "dual.example.com. 60 AAAA 2606:4700::7"})
		w.greet(t, "203.0.113.7:443", "four")
		w.net.Blackhole(netip.MustParseAddrPort("[2606:4700::7]:443"), true)
		c := w.direct(t)
		<-c.Await()
		started := time.Now()
		conn, err := c.DialChecked(t.Context(), name.Must("dual.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "four")
		if took := time.Since(started); took != 250*time.Millisecond { // RFC 8305, section 8
			t.Errorf("the second attempt began after %v of bubble time, want a quarter second", took)
		}
		dials := w.net.Dials()
		if last := dials[len(dials)-2:]; last[0].Addr().Is4() || !last[1].Addr().Is4() {
			t.Errorf("dialled in the order %v, want IPv6 first", last)
		}
	})
}

func TestHappyEyeballsPrefersIPv6AndFallsBackAtOnceWhenItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{
			"dual.example.com. 60 A 203.0.113.7", "dual.example.com. 60 AAAA 2606:4700::7",
			"half.example.com. 60 A 203.0.113.7", "half.example.com. 60 AAAA 2606:4700::8",
		})
		w.greet(t, "203.0.113.7:443", "four")
		w.greet(t, "[2606:4700::7]:443", "six")
		c := w.direct(t)
		<-c.Await()
		conn, err := c.DialChecked(t.Context(), name.Must("dual.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "six")
		started := time.Now()
		conn, err = c.DialChecked(t.Context(), name.Must("half.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "four")
		if took := time.Since(started); took >= attemptDelay {
			t.Errorf("after a refusal the next address waited %v", took)
		}
	})
}

func TestAnIPv4AddressWaitsOnlyAMomentForASlowIPv6Answer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := dnstest.Zone{"slow.example.com. 60 A 203.0.113.7", "slow.example.com. 60 AAAA 2606:4700::7"}
		w := newWorld(t, zone)
		w.greet(t, "203.0.113.7:443", "four")
		c := w.direct(t)
		<-c.Await()
		w.dns.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Question.Type == dnswire.AAAA {
				return dnstest.Silent(ctx, q)
			}
			return zone.Handler()(ctx, q)
		})
		started := time.Now()
		conn, err := c.DialChecked(t.Context(), name.Must("slow.example.com:443"), anyAddress)
		mustGreet(t, conn, err, "four")
		if took := time.Since(started); took != 50*time.Millisecond { // RFC 8305, section 8
			t.Errorf("it waited %v of bubble time, want 50ms", took)
		}
	})
}
