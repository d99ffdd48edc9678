package dns

import (
	"context"
	"net"
	"sync"
	"time"

	"watertight/wire"
)

// past is a deadline that interrupts.
var past = time.Unix(1, 0)

// serving is one call of a Serve method: its goroutines, and how they end. Draining begins when the caller's context
// ends; the queries' own context ends when the time for that is over.
type serving struct {
	d        *Door
	draining context.Context // the caller's
	ctx      context.Context // the queries'
	cancel   context.CancelFunc

	mu    sync.Mutex
	ended bool
	wg    sync.WaitGroup
}

func (d *Door) newServing(ctx context.Context) *serving {
	s := &serving{d: d, draining: ctx}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// enter books a goroutine, unless it is too late. leave is the end of one.
func (s *serving) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *serving) leave() { s.wg.Done() }

// end waits for what was entered, at most for the time to drain, then cancels it and waits on. Nothing may be entered
// afterwards.
func (s *serving) end() {
	stop := time.AfterFunc(s.d.o.Drain, s.cancel)
	defer stop.Stop()
	if s.d.o.Drain == 0 {
		s.cancel()
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
	s.cancel()
}

// accept gives each connection of l to serve, in a goroutine of its own, until draining begins or l fails. Clients that
// are not served and connections over the limit are closed at once.
func (s *serving) accept(l net.Listener, p Proto, proven func() bool, serve func(net.Conn, Client)) error {
	short := func(err error) { s.d.o.Logger.Warn("cannot accept connections for now", "error", err) }
	for {
		conn, err := wire.Accept(s.draining, l.Accept, short)
		if err != nil {
			if s.draining.Err() != nil {
				return nil
			}
			return err
		}
		c := clientOf(conn.RemoteAddr(), p)
		if !proven() && !s.d.serves(c) || !s.d.openConnection(c) {
			_ = conn.Close()
			continue
		}
		if !s.enter() {
			s.d.closeConnection(c)
			_ = conn.Close()
			return nil
		}
		go func() {
			defer s.leave()
			defer s.d.closeConnection(c)
			defer conn.Close()
			serve(conn, c)
		}()
	}
}
