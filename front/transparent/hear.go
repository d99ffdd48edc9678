package transparent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"watertight/hello"
)

// How long a client may take to say something. One that speaks first does so at once; of most others it is the server
// that speaks first, and the client waits for us.
const (
	firstWait   = 3 * time.Second // on a port whose clients speak first
	silentWait  = 500 * time.Millisecond
	wholeWait   = 3 * time.Second // for the rest of what it began to say
	maxReads    = 256
	firstOctets = 2 << 10
)

// speaksFirst are ports of HTTP and of TLS.
var speaksFirst = map[uint16]bool{80: true, 443: true, 465: true, 636: true, 853: true, 993: true, 995: true, 8080: true, 8443: true}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// heard is what a client has said, and the octets of it.
type heard struct {
	head  []byte
	said  hello.Said
	state hello.State
}

// hear reads what a client says first, until it names somebody or will not. The connection has no deadline afterwards. An
// error means that there is nobody left to serve.
func hear(ctx context.Context, conn net.Conn, port uint16) (heard, error) {
	h := heard{head: make([]byte, 0, firstOctets)}
	wait := silentWait
	if speaksFirst[port] {
		wait = firstWait
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return h, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(longAgo) })
	err := h.read(conn)
	if !stop() {
		return h, ctx.Err()
	}
	if err != nil {
		return h, err
	}
	return h, conn.SetReadDeadline(time.Time{})
}

func (h *heard) read(conn net.Conn) error {
	for range maxReads {
		if len(h.head) == cap(h.head) {
			h.head = append(h.head, 0)[:len(h.head)]
		}
		n, err := conn.Read(h.head[len(h.head):min(cap(h.head), hello.MaxStream)])
		first := len(h.head) == 0 && n > 0
		h.head = h.head[:len(h.head)+n]
		if n > 0 {
			if h.said, h.state = hello.Stream(h.head); h.state != hello.More {
				return nil
			}
		}
		switch {
		case err == nil && first:
			err = conn.SetReadDeadline(time.Now().Add(wholeWait))
		case errors.Is(err, os.ErrDeadlineExceeded), err == io.EOF && len(h.head) > 0:
			h.state = hello.Nothing // and what it has said so far is passed on
			return nil
		}
		if err != nil {
			return err
		}
		if len(h.head) >= hello.MaxStream {
			break
		}
	}
	h.state = hello.Nothing
	return nil
}
