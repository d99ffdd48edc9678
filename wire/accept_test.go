package wire

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// accepts gives these errors, one after the other, and then a connection's number.
func accepts(errs ...error) (accept func() (int, error), tries *int) {
	tries = new(int)
	return func() (int, error) {
		if *tries++; *tries <= len(errs) {
			return 0, errs[*tries-1]
		}
		return 7, nil
	}, tries
}

func of(e error) error { return &net.OpError{Op: "accept", Err: e} }

func TestALackOfDescriptorsIsWaitedOut(t *testing.T) {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		synctest.Test(t, func(t *testing.T) {
			began, told := time.Now(), 0
			accept, _ := accepts(of(e), of(syscall.ECONNABORTED), of(e), of(e))
			conn, err := Accept(t.Context(), accept, func(error) { told++ })
			if conn != 7 || err != nil || told != 1 {
				t.Errorf("%v: %d, %v, told %d times", e, conn, err, told)
			}
			if d := time.Since(began); d != 7*firstPause {
				t.Errorf("%v: tried again for %v", e, d)
			}
		})
	}
}

func TestALongLackIsLookedAtOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tries := 0
		_, err := Accept(ctx, func() (int, error) { tries++; return 0, of(syscall.EMFILE) }, func(error) {})
		if !errors.Is(err, syscall.EMFILE) || tries < 60 || tries > 70 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

func TestAnyOtherErrorEndsAListener(t *testing.T) {
	for _, e := range []error{syscall.EINVAL, net.ErrClosed} {
		accept, tries := accepts(of(e))
		if _, err := Accept(t.Context(), accept, func(error) { t.Error("a lack was told of") }); !errors.Is(err, e) || *tries != 1 {
			t.Errorf("%v after %d tries", err, *tries)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	accept, tries := accepts(of(syscall.ECONNABORTED))
	if _, err := Accept(ctx, accept, func(error) {}); err == nil || *tries != 1 {
		t.Errorf("after the end: %v, %d tries", err, *tries)
	}
}
