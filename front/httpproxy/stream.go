package httpproxy

import (
	"sync"

	"watertight/http2"
)

// stream2 is a tunnel of HTTP/2 as a relay sees it. Each direction ends by itself.
type stream2 struct {
	*http2.Stream

	mu      sync.Mutex
	ended   bool // by the far side
	aborted bool
}

// CloseWrite ends our direction.
func (s *stream2) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.aborted {
		return nil
	}
	s.ended = true
	return s.Stream.CloseWrite()
}

// Abort makes the stream end with a reset (RFC 9113, section 8.5), so that nobody takes the tunnel for a whole one.
func (s *stream2) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.aborted {
		s.aborted = true
		s.Reset(http2.ConnectError)
	}
}

// Close ends both directions; ours with a reset, where the far side has not ended before.
func (s *stream2) Close() error {
	s.Abort()
	s.Reset(http2.NoError)
	return nil
}

func (s *stream2) finish() { _ = s.Close() }
