// Package httpserve is what servers of HTTP have in common: how they end, and what becomes of a panic.
//
// It promises that a server ends with its context, with some time for the requests that it has; and that a fault of the
// program which ends a request is told in the log, without what the request asks for. It opens no socket: listeners are
// given to it.
package httpserve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"
)

// Serve serves l until ctx ends, closes it, and gives nil. Requests that are in progress then have so long to end before they
// are cut off. Where the listener ends by itself, all is cut off, and that error is given.
func Serve(ctx context.Context, s *http.Server, l net.Listener, drain time.Duration) error {
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if s.Shutdown(patience) != nil {
			_ = s.Close() // those who did not end in time are cut off
		}
	})
	err := s.Serve(l)
	if stop() { // nobody told it to end
		_ = s.Close()
		return err
	}
	<-drained
	return nil
}

// Contain is h, whose panics are told: of what the panic says only the type, unless the runtime made it, and the stack, which
// holds no names. The server then ends the request such that nobody takes what came for all of it; so it does, without a word,
// where the handler panics with [http.ErrAbortHandler].
func Contain(h http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
				return
			case http.ErrAbortHandler:
			default:
				what := fmt.Sprintf("%T", v)
				if err, ok := v.(runtime.Error); ok {
					what = err.Error()
				}
				log.Error("a request failed by a fault of this program", "panic", what, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler)
		}()
		h.ServeHTTP(w, r)
	})
}
