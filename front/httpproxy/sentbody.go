package httpproxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// sentBody is the body of a request on a connection with many, as the origin's side reads it, in a goroutine of net/http's.
type sentBody struct {
	f       *fetch
	rc      *http.ResponseController // of the stream
	trailer http.Header              // filled at the end; nil where none is taken

	mu     sync.Mutex
	broken bool // the origin takes no more of it
	late   bool // nothing came of it in time
}

// Read reads from the client, which has to send in time.
func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.broken {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	_ = b.rc.SetReadDeadline(time.Now().Add(b.f.d.o.StallTimeout))
	b.mu.Unlock()
	n, err := b.f.r.Body.Read(p)
	switch {
	case err == io.EOF && b.trailer != nil:
		for k, values := range b.f.r.Trailer {
			if mayTrail(k) {
				b.trailer[k] = values
			}
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.mu.Lock()
		b.late = !b.broken
		b.mu.Unlock()
	}
	return n, err
}

// originGone ends a Read that waits.
func (b *sentBody) originGone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = true
	_ = b.rc.SetReadDeadline(past)
}

func (b *sentBody) stalled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late
}

// Close does nothing: the stream ends with its request.
func (b *sentBody) Close() error { return nil }
