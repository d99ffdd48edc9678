package gateway

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/httphead"
)

// buffers hold what is passed on at once.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// unfit says why a final response is not passed on; empty if it is.
func unfit(resp *http.Response) string {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return "switched protocols unasked"
	case resp.StatusCode < 200 || resp.StatusCode > 999:
		return "answered with a status that HTTP does not have"
	}
	return malformed(resp.Header)
}

// respond passes the response on, each part as soon as it comes.
func (x *exchange) respond(ctx context.Context, m match, resp *http.Response) {
	defer resp.Body.Close()
	defer x.body.leave()
	if x.body != nil && x.r.Header.Get("Expect") != "" {
		x.body.unwanted()
	}
	x.begin()
	if why := unfit(resp); why != "" {
		_ = resp.Body.Close()
		o := newOrigin(m, &known{})
		x.fail(ctx, o, o.failure(why, nil))
		return
	}
	announced := trailerKeys(resp.Trailer)
	h := x.w.Header()
	clear(h) // of interim responses
	x.passFields(h, m, resp.Header)
	if len(announced) > 0 {
		h["Trailer"] = []string{strings.Join(announced, ", ")}
	}
	if x.r.ProtoMajor == 1 && x.body != nil && !x.body.ended.Load() {
		h["Connection"] = []string{"close"} // what is left of the body stands where the next request would
	}
	x.bound()
	x.w.WriteHeader(resp.StatusCode)
	flushed := x.rc.Flush()
	x.unbound()
	if flushed != nil || x.pass(resp.Body) != nil {
		panic(http.ErrAbortHandler) // so that the client sees that this was not all
	}
	x.bound()
	for k, v := range resp.Trailer {
		if !mayTrail(k) {
			continue
		}
		if !slices.Contains(announced, k) {
			k = http.TrailerPrefix + k
		}
		h[k] = v
	}
}

// bound gives the client its time to take what is written next.
func (x *exchange) bound() { _ = x.rc.SetWriteDeadline(time.Now().Add(stallTimeout)) }

// unbound lifts the bound behind a write. Over HTTP/2 net/http ends a stream at its deadline also while nothing is written.
func (x *exchange) unbound() {
	if x.r.ProtoMajor != 1 {
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
}

// pass passes octets on, until the end.
func (x *exchange) pass(from io.Reader) error {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			x.bound()
			if _, err := x.w.Write(buf[:n]); err != nil {
				return err
			}
			if err := x.rc.Flush(); err != nil {
				return err
			}
			x.unbound()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// passFields fills h with the fields of a response: end-to-end ones, and what points to the origin points to the gateway.
func (x *exchange) passFields(h http.Header, m match, from http.Header) {
	strip(from)
	delete(from, "Alt-Svc") // it names another server, for the client to find by itself (RFC 7838)
	mapBack(from, m)
	for k, v := range from {
		h[k] = v
	}
	for _, k := range []string{"Content-Type", "Date"} {
		if _, ok := from[k]; !ok {
			h[k] = nil // else net/http adds its own
		}
	}
}

// trailerKeys gives the fields that a response announces for its end.
func trailerKeys(t http.Header) []string {
	var keys []string
	for k := range t {
		if mayTrail(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// mayTrail says whether a field may stand in a trailer section.
func mayTrail(k string) bool {
	return httphead.IsToken(k) && !notInTrailers[k] && !slices.Contains(hopByHop, k)
}

// notInTrailers are fields that steer a message and have no meaning after its body (RFC 9110, section 6.5.1).
var notInTrailers = map[string]bool{
	"Authorization": true, "Cache-Control": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Cookie": true, "Expect": true, "Host": true, "Max-Forwards": true, "Set-Cookie": true,
}
