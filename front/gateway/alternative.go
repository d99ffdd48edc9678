package gateway

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watertight/name"
	"watertight/route"
	"watertight/transport"
)

const (
	// http3First is how long HTTP/3 has before another version is tried beside it, in the same channel.
	http3First = 300 * time.Millisecond
	// firstPause is how long HTTP/3 is left alone after it did not come about; twice as long each time, up to mostPause.
	firstPause, mostPause = 5 * time.Minute, 6 * time.Hour
	// mostAge bounds how long what an origin said of itself is believed.
	mostAge = 24 * time.Hour
	// places3 is how many servers of an origin are tried over HTTP/3 for one connection.
	places3 = 2
)

// known is what is remembered of an origin: what it said about HTTP/3 over an authenticated connection (RFC 7838), and how
// HTTP/3 went with it.
type known struct {
	leads atomic.Bool // its records lead elsewhere, or to HTTP/3

	mu     sync.Mutex
	at     uint16    // the port on the origin's own host; 0: none
	until  time.Time // that it holds
	pause  time.Time // before which HTTP/3 is not tried
	pauses int
}

// heard replaces what the origin said before.
func (k *known) heard(port uint16, life time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.until = port, now.Add(min(life, mostAge))
}

// port gives the port that the origin said it speaks HTTP/3 on, or 0.
func (k *known) port(now time.Time) uint16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !now.Before(k.until) || now.Before(k.pause) {
		return 0
	}
	return k.at
}

// paused says whether HTTP/3 is left alone.
func (k *known) paused(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return now.Before(k.pause)
}

// tried books how HTTP/3 went.
func (k *known) tried(well bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if well {
		k.pause, k.pauses = time.Time{}, 0
		return
	}
	k.pause = now.Add(min(mostPause, firstPause<<min(k.pauses, 16)))
	k.pauses++
}

// heed takes what a response says about HTTP/3. What is said of another host than the origin's own is never followed, and
// neither is what a server says that a record led to: it would be for the record to say.
func (p *pool) heed(c *conn, resp *http.Response) {
	k := p.known
	switch fields := resp.Header.Values("Alt-Svc"); {
	case p.entry.NoHTTP3:
	case c.three && resp.StatusCode == http.StatusMisdirectedRequest: // RFC 7838, section 6
		k.tried(false, time.Now())
	case c.own && len(fields) > 0 && resp.StatusCode != http.StatusMisdirectedRequest:
		port, life := transport.HTTP3Alternative(strings.Join(fields, ","), p.target.String())
		if port != p.target.Port() && port != httpsPort && port < lowPorts {
			port = 0
		}
		if age, err := strconv.ParseUint(resp.Header.Get("Age"), 10, 31); err == nil {
			life -= time.Duration(age) * time.Second
		}
		k.heard(port, life, time.Now())
	}
}

// threes gives the servers that are tried over HTTP/3: those of the records that say so, and else what the origin said itself.
func (p *pool) threes(r route.Request, f *found) []place {
	k, now := p.known, time.Now()
	if p.entry.NoHTTP3 || k.paused(now) || !p.entry.Way.CarriesPackets(r) {
		return nil
	}
	var all []place
	for _, one := range f.places {
		if one.h3 && len(all) < places3 {
			all = append(all, one)
		}
	}
	if port := k.port(now); len(all) == 0 && port != 0 && f.places[0].at == p.target {
		if at, err := name.New(p.target.Host(), port); err == nil {
			all = append(all, place{at: at, keys: f.places[0].keys, h3: true})
		}
	}
	return all
}

// race makes a connection: over HTTP/3 where the origin speaks it and the channel carries it, and over TCP beside that where
// HTTP/3 does not come about soon. Both go through the same channel, and prove the same.
func (p *pool) race(ctx context.Context, r route.Request, f *found) (*conn, error) {
	threes := p.threes(r, f)
	if len(threes) == 0 {
		return p.overTCP(ctx, r, f)
	}
	type result struct {
		c     *conn
		err   error
		three bool
	}
	results := make(chan result, 2)
	ctx3, cancel := context.WithTimeout(context.WithoutCancel(ctx), handshakeLimit) // it may go on when this request has another
	go func() {
		c, err := p.over3(ctx3, r, threes)
		results <- result{c, err, true}
	}()
	timer := time.NewTimer(http3First)
	defer timer.Stop()
	pending, second := 1, false
	begin := func() {
		if second {
			return
		}
		second = true
		if ctx.Err() != nil || !slices.ContainsFunc(f.places, func(one place) bool { return one.tcp }) {
			f.drop()
			return
		}
		pending++
		go func() {
			c, err := p.overTCP(ctx, r, f)
			results <- result{c, err, false}
		}()
	}
	var failed error
	for pending > 0 {
		select {
		case <-ctx.Done():
			cancel()
			begin() // nothing, but for what was not taken
			for range pending {
				go func() {
					if late := <-results; late.err == nil {
						_ = late.c.Close()
					}
				}()
			}
			return nil, p.told(ctx, ctx.Err())
		case <-timer.C:
			begin()
		case got := <-results:
			pending--
			switch {
			case got.three:
				cancel()
				p.known.tried(got.err == nil, time.Now())
			case got.err == nil && pending > 0:
				p.mu.Lock()
				p.asking++ // so that there is somebody to take it
				p.mu.Unlock()
				go func() {
					defer p.asked()
					defer cancel()
					late := <-results
					p.known.tried(late.err == nil, time.Now())
					if late.err == nil {
						p.adopt(late.c)
					}
				}()
				return got.c, nil
			}
			if got.err == nil {
				cancel()
				if !second {
					f.drop()
				}
				for range pending {
					go func() {
						if late := <-results; late.err == nil {
							_ = late.c.Close()
						}
					}()
				}
				return got.c, nil
			}
			if !got.three || failed == nil {
				failed = got.err
			}
			begin()
		}
	}
	cancel()
	return nil, failed
}
