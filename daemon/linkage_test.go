package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/memory"
)

func TestCacheAndLinkage(t *testing.T) {
	t.Run("F1 each channel has a cache of its own", func(t *testing.T) {
		inWorld(t, bySOCKS, dot, func(w *world) {
			w.allowed.Secrets[canary] = []string{"own", "below"} // both channels are asked here
			w.ready(w.text())
			for range 2 {
				for _, r := range w.g.channels {
					if _, err := r.Lookup(w.t.Context(), hostName); err != nil {
						w.t.Error(err)
					}
				}
			}
			if a, b := w.own.Count(hostName, dnswire.A), w.below.Count(hostName, dnswire.A); a != 1 || b != 1 {
				w.t.Errorf("asked %d and %d times, want once in each channel", a, b)
			}
		})
	})
	t.Run("F2 an answer that has expired is not used, though the resolver is gone", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			w.ready(w.text())
			w.reaches(target, "origin")
			w.own.Fail(memory.Fault{Gone: true})
			w.reaches(target, "origin") // within its TTL
			time.Sleep(61 * time.Second)
			w.fails(target, fault.ResolverUnreachable, "")
		})
	})
	t.Run("F2 negative answers and failures are remembered as long as they say", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			w.ready(w.text())
			none := "none." + canary + ".example.com"
			for _, pause := range []time.Duration{0, 59 * time.Second, 2 * time.Second} {
				time.Sleep(pause)
				w.fails(none+":443", fault.DNSNXDomain, "")
			}
			if n := w.own.Count(none, dnswire.A); n != 2 { // the zone's SOA says 60 seconds
				w.t.Errorf("asked %d times for a name that does not exist, want 2", n)
			}
			w.own.Fail(always(dnstest.RCode(dnswire.ServFail)))
			for range 5 {
				w.fails(target, fault.DNSServFail, "")
			}
			if n := w.own.Count(hostName, dnswire.A); n != 1 { // RFC 9520, section 3.1
				w.t.Errorf("asked %d times in a row for what fails", n)
			}
		})
	})
	for _, k := range transports {
		t.Run("F3 F4 a query tells nothing but the question, "+string(k), func(t *testing.T) {
			inWorld(t, bySOCKS, k, func(w *world) {
				w.ready(w.text())
				w.reaches("dual."+canary+".example.com:443", "origin6")
				w.reaches(target, "origin")
				for _, q := range w.own.Log() {
					if q.Subnet != netip.MustParsePrefix("0.0.0.0/0") {
						w.t.Errorf("client subnet %v (RFC 7871, section 7.1.2)", q.Subnet)
					}
					if q.Size%dnswire.PadQuery != 0 || q.Padding < 0 {
						w.t.Errorf("a query of %d octets (RFC 8467)", q.Size)
					}
					if q.Transport != dnstest.DoH {
						continue
					}
					if q.ID != 0 {
						w.t.Errorf("ID %d (RFC 8484, section 4.1)", q.ID)
					}
					for key := range q.Header {
						if !slices.Contains([]string{"Accept", "Content-Type", "Content-Length"}, key) {
							w.t.Errorf("a header that tells: %s: %s", key, q.Header[key])
						}
					}
				}
			})
		})
	}
	t.Run("F5 the second resolver does not see what the first has answered", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			second := w.Resolver("second", ownAddr)
			one := w.upstream(belowName, belowAddr)
			w.ready(strings.Replace(w.text(), one, one+", "+w.upstream(ownName, ownAddr), 1))
			w.reaches(target, "origin")
			w.fails("none."+canary+".example.com:443", fault.DNSNXDomain, "")
			if n := len(second.Log()); n != 0 {
				w.t.Errorf("it was asked %d times", n)
			}
		})
	})
	t.Run("F6 no channel resumes another's session, nor an earlier configuration's", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			w.ready(w.text())
			w.reaches(target, "origin")
			w.own.Drop()
			time.Sleep(later)
			w.reaches(target, "origin")
			if log := w.own.Log(); !log[len(log)-1].Resumed {
				w.t.Error("the channel does not resume its own session either: the test proves nothing")
			}
			synctest.Wait() // the other of A and AAAA may still be under way
			seen := len(w.own.Log())
			w.ready(w.text("timeout: 4s"))
			w.reaches(target, "origin")
			for _, q := range w.own.Log()[seen:] {
				if q.Resumed {
					w.t.Error("a new channel resumed the session of the one before")
				}
			}
		})
	})
	t.Run("one look-up serves all who wait", func(t *testing.T) {
		inWorld(t, byChain, doh, func(w *world) {
			w.ready(w.text())
			release := make(chan struct{})
			w.own.Fail(answers(func(h dnstest.Handler) dnstest.Handler { return dnstest.Held(h, release) }))
			var waiting sync.WaitGroup
			for range 50 {
				waiting.Go(func() { w.reaches(target, "origin") })
			}
			time.Sleep(time.Second)
			close(release)
			waiting.Wait()
			for _, typ := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
				if n := w.own.Count(hostName, typ); n != 1 {
					w.t.Errorf("asked %d times for %v", n, typ)
				}
			}
		})
	})
	t.Run("one who gives up does not take the look-up from the others", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			w.ready(w.text())
			release := make(chan struct{})
			w.own.Fail(answers(func(h dnstest.Handler) dnstest.Handler { return dnstest.Held(h, release) }))
			var waiting sync.WaitGroup
			waiting.Go(func() {
				ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
				defer cancel()
				_, err := w.g.table.Dial(ctx, request(target))
				w.isFault(err, target, fault.DNSTimeout, "in time")
			})
			waiting.Go(func() { w.reaches(target, "origin") })
			time.Sleep(2 * time.Second)
			close(release)
			waiting.Wait()
		})
	})
}
