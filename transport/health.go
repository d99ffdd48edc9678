package transport

import (
	"sync"
	"time"

	"watertight/fault"
	"watertight/upstream"
)

const (
	firstBackoff = time.Second
	// maxBackoff is smaller than what RFC 9520 allows, so that an outage ends soon after its cause.
	maxBackoff = 30 * time.Second
	// silences is how many questions in a row an upstream may leave unanswered before it counts as failed.
	silences = 3
)

// Backoff is how long the nth failure in a row is remembered: a second for the first, then twice as long each time, up
// to most (RFC 9520, section 3.2: at least one second, at most five minutes, growing).
func Backoff(n int, most time.Duration) time.Duration {
	if n > 16 {
		return most
	}
	return min(most, firstBackoff<<max(0, n-1))
}

// health is what is known about whether an upstream can be reached.
type health struct {
	mu       sync.Mutex
	failures int // in a row
	silent   int // questions in a row without a reply
	failedAt time.Time
	retryAt  time.Time
	last     *Failure
	lastOK   time.Time
	rtt      time.Duration
	asked    uint64
	errors   uint64
}

// blocked gives the last failure while it is remembered, and for how long still.
func (h *health) blocked(now time.Time) (*Failure, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if wait := h.retryAt.Sub(now); h.failures > 0 && wait > 0 {
		return h.last, wait
	}
	return nil, 0
}

// failed books a failure of the upstream itself. What was started before the last failure belongs to the same outage.
func (h *health) failed(started, now time.Time, f *Failure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors++
	h.last = f
	if h.failures > 0 && started.Before(h.failedAt) {
		return
	}
	h.failures++
	h.failedAt = now
	h.retryAt = now.Add(Backoff(h.failures, maxBackoff))
}

// unanswered books a question without a reply; a few in a row are a failure.
func (h *health) unanswered(started, now time.Time, f *Failure) {
	h.mu.Lock()
	h.silent++
	count := h.silent >= silences
	if !count {
		h.errors++
		h.last = f
	}
	h.mu.Unlock()
	if count {
		h.failed(started, now, f)
	}
}

// replied books a reply, whatever it says: the upstream is reached again.
func (h *health) replied(started, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.silent, h.last = 0, 0, nil
	h.retryAt = time.Time{}
	h.lastOK = now
	if took := now.Sub(started); h.rtt == 0 {
		h.rtt = took
	} else {
		h.rtt += (took - h.rtt) / 8
	}
}

// forgive ends the pause after failures, and the next pause is as short as the first. That the last attempt failed stays
// known.
func (h *health) forgive() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = min(h.failures, 1)
	h.silent = 0
	h.retryAt = time.Time{}
}

func (h *health) sent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
}

// Stats is how one upstream does.
type Stats struct {
	Upstream  string        `json:"upstream"` // as configured
	Host      string        `json:"host"`
	Kind      upstream.Kind `json:"kind"`
	Protocol  string        `json:"protocol,omitempty"` // of the connection in use: DoT, "DoH over HTTP/2" and the like
	ECH       bool          `json:"ech"`                // its hello was encrypted (RFC 9849)
	Healthy   bool          `json:"healthy"`            // no failure since the last reply
	Conns     int           `json:"connections"`
	InFlight  int           `json:"in_flight"`
	Asked     uint64        `json:"asked"`    // questions sent, retries not counted
	Errors    uint64        `json:"errors"`   // failures to connect, and questions without a reply
	Failures  int           `json:"failures"` // in a row
	RetryIn   time.Duration `json:"retry_in_ns,omitempty"`
	RTT       time.Duration `json:"rtt_ns,omitempty"` // smoothed, connecting included
	LastOK    time.Time     `json:"last_ok,omitzero"`
	LastError string        `json:"last_error,omitempty"` // one line, without names that were asked for
	LastCode  fault.Code    `json:"last_code,omitempty"`
}

func (h *health) stats(s *Stats, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Healthy = h.failures == 0
	s.Asked, s.Errors, s.Failures = h.asked, h.errors, h.failures
	s.RetryIn = max(0, h.retryAt.Sub(now))
	s.RTT, s.LastOK = h.rtt, h.lastOK
	if h.last != nil {
		s.LastError, s.LastCode = h.last.Fault.Message, h.last.Fault.Code
	}
}
