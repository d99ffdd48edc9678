package hop

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"watertight/fault"
	"watertight/masque"
)

// capsulesRoom is how many datagrams wait to be sent; those over it are lost, as with a socket of the kernel.
const capsulesRoom = 64

// capsulesOctets is how much that may be together.
const capsulesOctets = 1 << 20

// putCapsules takes in what comes in capsules (RFC 9297, section 3.5), and says why no more does.
func (i *inbox) putCapsules(l *link, from io.Reader) error {
	r := masque.NewReader(bufio.NewReader(from))
	for {
		payload, err := r.Next()
		switch {
		case errors.Is(err, masque.ErrMalformed), errors.Is(err, masque.ErrTooLong):
			return l.nonsense(err)
		case err != nil:
			return fault.New(fault.HopRefused, l.label+" ended the flow of datagrams", err)
		}
		i.put(append([]byte(nil), payload...))
	}
}

// capsuleFlow is a flow of datagrams that travel in capsules of a stream. It lives as long as the stream (RFC 9298, section 3.1).
type capsuleFlow struct {
	*inbox
	l      *link
	stream net.Conn
	out    chan []byte
	queued atomic.Int64 // octets in out
}

func newCapsuleFlow(l *link, stream net.Conn) *capsuleFlow {
	f := &capsuleFlow{inbox: newInbox(), l: l, stream: stream, out: make(chan []byte, capsulesRoom)}
	go func() { f.stop(f.putCapsules(l, stream)) }()
	go f.pump()
	return f
}

// pump sends what was written, as fast as the proxy takes it.
func (f *capsuleFlow) pump() {
	for {
		select {
		case capsule := <-f.out:
			f.queued.Add(-int64(len(capsule)))
			if _, err := f.stream.Write(capsule); err != nil {
				f.stop(fault.New(fault.HopRefused, f.l.label+" takes no more datagrams", err))
				return
			}
		case <-f.ended:
			return
		}
	}
}

func (f *capsuleFlow) stop(why error) {
	if f.end(why) {
		_ = f.stream.Close()
	}
}

// Write sends one datagram. Like one on a link that is full, it is lost where the proxy does not take them fast enough: whoever
// writes never waits.
func (f *capsuleFlow) Write(b []byte) (int, error) {
	if why := f.failure(); why != nil {
		return 0, why
	}
	if len(b) > masque.MaxPayload {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.EMSGSIZE}
	}
	if f.queued.Load()+int64(masque.CapsuleOverhead+len(b)) > capsulesOctets {
		return len(b), nil
	}
	capsule := masque.AppendCapsule(make([]byte, 0, masque.CapsuleOverhead+len(b)), b)
	f.queued.Add(int64(len(capsule)))
	select {
	case f.out <- capsule:
	default:
		f.queued.Add(-int64(len(capsule)))
	}
	return len(b), nil
}

// Close ends the flow.
func (f *capsuleFlow) Close() error {
	f.stop(net.ErrClosed)
	return nil
}

func (f *capsuleFlow) LocalAddr() net.Addr  { return f.stream.LocalAddr() }
func (f *capsuleFlow) RemoteAddr() net.Addr { return f.stream.RemoteAddr() }

// SetDeadline is SetReadDeadline.
func (f *capsuleFlow) SetDeadline(t time.Time) error { return f.SetReadDeadline(t) }

// SetWriteDeadline does nothing: nobody waits to send.
func (f *capsuleFlow) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*capsuleFlow)(nil)
