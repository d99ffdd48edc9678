package http2

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// refund counts the room that the connection is given back, until it is all that was used.
func (p *peer) refund(used int) {
	p.t.Helper()
	p.until(func(f http2.Frame) bool {
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
			used -= int(w.Increment)
		}
		return used <= 0
	})
}

func TestABodyThatNobodyReadsTakesNoRoomOfTheConnection(t *testing.T) {
	arrived := make(chan struct{})
	o := options(func(w http.ResponseWriter, r *http.Request) {
		<-arrived
		w.WriteHeader(http.StatusForbidden)
	})
	conn, _ := serve(t, o)
	f := newPeer(t, conn)
	f.until(func(got http2.Frame) bool { w, ok := got.(*http2.WindowUpdateFrame); return ok && w.StreamID == 0 }) // of the beginning
	f.fields(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/")
	for range 3 {
		f.data(1, strings.Repeat("x", frameSize), false)
	}
	f.data(1, strings.Repeat("x", frameSize), true)
	if err := f.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	f.until(func(got http2.Frame) bool { p, ok := got.(*http2.PingFrame); return ok && p.IsAck() }) // all of it has arrived
	close(arrived)
	f.refund(4 * frameSize)
}

func TestWhatATunnelLeavesUnreadTakesNoRoomOfTheConnection(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		s := w.(Streamer).HTTPStream()
		_, _ = io.ReadFull(s, make([]byte, 1))
		_ = s.CloseWrite()
		<-r.Context().Done()
	}))
	f := newPeer(t, conn)
	f.until(func(got http2.Frame) bool { w, ok := got.(*http2.WindowUpdateFrame); return ok && w.StreamID == 0 })
	f.head(1, false, "CONNECT", "host.example.com:443")
	for range 4 {
		f.data(1, strings.Repeat("x", frameSize), false)
	}
	f.until(func(got http2.Frame) bool { d, ok := got.(*http2.DataFrame); return ok && d.StreamEnded() })
	if err := f.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	f.refund(4 * frameSize)
}

func TestOurDirectionEndsOnceHoweverManyEndIt(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		s := w.(Streamer).HTTPStream()
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := s.send(nil, true); err != net.ErrClosed { // as one does who looked before the other was done
			t.Errorf("the second end: %v", err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		_, _ = io.ReadAll(s)
	}))
	f := newPeer(t, conn)
	f.head(1, false, "CONNECT", "host.example.com:443")
	ends := 0
	f.until(func(got http2.Frame) bool {
		switch got := got.(type) {
		case *http2.DataFrame:
			if ends++; ends > 1 {
				t.Fatal("more comes after the end")
			}
			f.data(1, "", true)
			if err := f.WritePing(false, [8]byte{1}); err != nil {
				t.Fatal(err)
			}
		case *http2.PingFrame:
			return got.IsAck()
		}
		return false
	})
}

func TestSettingsDoNotKeepAnIdleConnection(t *testing.T) {
	o := options(func(w http.ResponseWriter, r *http.Request) {})
	o.IdleTimeout = 100 * time.Millisecond
	conn, _ := serve(t, o)
	f := newPeer(t, conn)
	var sending sync.WaitGroup
	sending.Go(func() {
		for f.WriteSettings() == nil {
			time.Sleep(5 * time.Millisecond)
		}
	})
	f.until(func(got http2.Frame) bool { _, ok := got.(*http2.GoAwayFrame); return ok })
	conn.Close()
	sending.Wait()
}

func TestARequestWithTheNumberOfAnEarlierOneIsReset(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/first" {
			t.Errorf("served %s", r.URL)
		}
	}))
	f := newPeer(t, conn)
	f.get(7, "/first")
	f.until(func(got http2.Frame) bool { d, ok := got.(*http2.DataFrame); return ok && d.StreamEnded() })
	f.get(7, "/again")
	f.wantReset(7, http2.ErrCodeStreamClosed)
	f.get(3, "/before")
	f.wantReset(3, http2.ErrCodeStreamClosed)
}

func TestAMalformedRequestLeavesTheOthersOfItsConnection(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	f := newPeer(t, conn)
	f.fields(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/", "Upper", "case")
	f.data(1, "its body, which was on its way", true)
	f.wantReset(1, http2.ErrCodeProtocol)
	f.get(3, "/")
	f.until(func(got http2.Frame) bool {
		if g, ok := got.(*http2.GoAwayFrame); ok {
			t.Fatal("the connection ends: ", g.ErrCode)
		}
		d, ok := got.(*http2.DataFrame)
		return ok && d.StreamEnded()
	})
}

func TestFieldsBehindTheEndOfARequestAreRefusedAsThat(t *testing.T) {
	hold := make(chan struct{})
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) { <-hold }))
	defer close(hold)
	f := newPeer(t, conn)
	f.get(1, "/")
	f.get(1, "/again")
	f.wantReset(1, http2.ErrCodeStreamClosed)
}

func TestATableThatWasEmptiedAndGrownAtOnceIsEmptied(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Some", "thing") }))
	f := newPeer(t, conn)
	isHead := func(got http2.Frame) bool { _, ok := got.(*http2.HeadersFrame); return ok }
	f.get(1, "/")
	f.until(isHead)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}); err != nil {
		t.Fatal(err)
	}
	f.get(3, "/")
	f.until(func(got http2.Frame) bool {
		h, ok := got.(*http2.HeadersFrame)
		if ok && h.HeaderBlockFragment()[0] != 0x20 {
			t.Errorf("the block begins with %#x: the least size is not said", h.HeaderBlockFragment()[0])
		}
		return ok
	})
}
