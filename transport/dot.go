package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/wire"
)

// maxAbandoned is how many questions nobody waits for any more a connection may owe before it is given up.
const maxAbandoned = 64

var (
	errStrayID = fmt.Errorf("%w: a reply under an ID that was not asked", dnswire.ErrMalformed)
	errOwing   = errors.New("too many questions without a reply")
)

// dot opens connections of DNS over TLS (RFC 7858).
type dot struct{ *secure }

func newDoT(c *Client) (opener, error) {
	// Not every server chooses a protocol, and RFC 7858 does not ask for it.
	s, err := newSecure(c, protocol{alpn: []string{"dot"}, optional: true, name: "DNS over TLS"})
	if err != nil {
		return nil, err
	}
	return &dot{s}, nil
}

// dotSegment is what a reply takes on a connection of DNS over TLS that is padded to one block (RFC 8467, section 4.1), as
// almost all are: the length before the message, and a record of TLS 1.3 around it (RFC 8446, section 5.2). Servers that
// hold back what does not fill a segment send it at once where a segment has just that size; else, with several questions
// under way, replies wait up to a round trip for each other.
const dotSegment = dnswire.PadReply + 2 + 5 + 1 + 16

func (d *dot) open(ctx context.Context) (link, *Failure) {
	conn, fail := d.connect(wire.WithSegments(ctx, dotSegment))
	if fail != nil {
		return nil, fail
	}
	return newDoTLink(d.c, conn), nil
}

// dotLink is one connection of DNS over TLS. Questions are pipelined, and replies come in any order (RFC 7766,
// section 6.2.1.1).
type dotLink struct {
	c      *Client
	conn   *tls.Conn
	ended  chan struct{}
	writes sync.Mutex // held over one message

	mu        sync.Mutex
	err       *Failure            // why the connection ended
	waiting   map[uint16]*dotWait // nil where nobody waits any more
	abandoned int
}

// dotWait is a question that waits for its reply.
type dotWait struct {
	then  func(dotReply) // called once, and never while mu is held
	timer *time.Timer    // nil where somebody else looks at the time
}

func (w *dotWait) end(r dotReply) {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.then(r)
}

type dotReply struct {
	id   uint16
	msg  []byte
	fail *Failure
}

func newDoTLink(c *Client, conn *tls.Conn) *dotLink {
	l := &dotLink{c: c, conn: conn, ended: make(chan struct{}), waiting: map[uint16]*dotWait{}}
	c.wg.Go(l.read)
	return l
}

func (l *dotLink) done() <-chan struct{} { return l.ended }

func (l *dotLink) room() bool { return true }

func (l *dotLink) close() { l.end(l.c.broke(errors.New("given up"))) }

// exchange sends a question and waits for its reply.
func (l *dotLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(l.c.options.Timeout)
	}
	reply := make(chan dotReply, 1)
	id, fail := l.ask(q, &dotWait{then: func(r dotReply) { reply <- r }}, time.Time{}, deadline)
	if fail != nil {
		return nil, fail
	}
	select {
	case r := <-reply:
		if r.fail != nil {
			if ctx.Err() != nil { // a question that was late at the same moment ended the connection
				return nil, l.c.timeout(ctx.Err())
			}
			return nil, r.fail
		}
		return l.parse(r.msg, q, id)
	case <-ctx.Done():
		l.abandon(id, nil)
		return nil, l.c.timeout(ctx.Err())
	}
}

func (l *dotLink) parse(msg []byte, q dnswire.Question, id uint16) (*dnswire.Answer, *Failure) {
	a, err := dnswire.ParseAnswer(msg, q, id)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	return a, nil
}

// promptWrite bounds how long a connection may be unable to take a question, where whoever asks cannot wait.
const promptWrite = 250 * time.Millisecond

// send is exchange for one who does not wait. The goroutine that reads replies calls then.
func (l *dotLink) send(until time.Time, q dnswire.Question, then func(*dnswire.Answer, *Failure)) *Failure {
	w := &dotWait{then: func(r dotReply) {
		if r.fail != nil {
			then(nil, r.fail)
			return
		}
		then(l.parse(r.msg, q, r.id))
	}}
	_, fail := l.ask(q, w, until, time.Now().Add(promptWrite))
	return fail
}

// ask sends a question whose reply w waits for: until a time, or for as long as it is not abandoned. Where it gives a failure,
// nothing was sent and w is not called.
func (l *dotLink) ask(q dnswire.Question, w *dotWait, until, writeBy time.Time) (uint16, *Failure) {
	id, fail := l.register(w, until)
	if fail != nil {
		return 0, fail
	}
	msg, err := l.c.query(q, id, dnswire.PadQuery)
	if err != nil {
		l.forget(id)
		return 0, badQuestion(q, err)
	}
	if err := l.write(msg, writeBy); err != nil {
		l.end(l.c.broke(err))
	}
	return id, nil
}

// register takes a random ID that no question under way has.
func (l *dotLink) register(w *dotWait, until time.Time) (uint16, *Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.c.broke(l.err)
	}
	for {
		id := uint16(rand.Uint32())
		if _, used := l.waiting[id]; used {
			continue
		}
		if !until.IsZero() {
			w.timer = time.AfterFunc(time.Until(until), func() {
				if l.abandon(id, w) {
					w.then(dotReply{fail: l.c.timeout(context.DeadlineExceeded)})
				}
			})
		}
		l.waiting[id] = w
		return id, nil
	}
}

// forget frees the ID of a question that was not sent.
func (l *dotLink) forget(id uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.waiting[id]; w != nil && w.timer != nil {
		w.timer.Stop()
	}
	delete(l.waiting, id)
}

// abandon keeps the ID of a question that was sent, so that its late reply is not taken for another's. With w it does so
// only where that is what waits, and says whether it was.
func (l *dotLink) abandon(id uint16, w *dotWait) bool {
	l.mu.Lock()
	waits := l.waiting[id]
	if waits == nil || w != nil && waits != w {
		l.mu.Unlock()
		return false
	}
	l.waiting[id] = nil
	l.abandoned++
	owing := l.abandoned > maxAbandoned
	l.mu.Unlock()
	if owing {
		l.end(l.c.broke(errOwing))
	}
	return true
}

// write sends a message with its length in front, in one piece (RFC 7766, section 8).
func (l *dotLink) write(msg []byte, by time.Time) error {
	framed := make([]byte, 2, 2+len(msg))
	binary.BigEndian.PutUint16(framed, uint16(len(msg)))
	framed = append(framed, msg...)
	l.writes.Lock()
	defer l.writes.Unlock()
	if err := l.conn.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := l.conn.Write(framed)
	return err
}

// read hands out replies until the connection ends.
func (l *dotLink) read() {
	r := bufio.NewReaderSize(l.conn, 4096)
	for {
		msg, err := readMessage(r)
		if err != nil {
			l.end(l.c.broke(err))
			return
		}
		if !l.deliver(msg) {
			l.end(l.c.malformed(errStrayID))
			return
		}
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func (l *dotLink) deliver(msg []byte) bool {
	if len(msg) < 2 {
		return false
	}
	id := binary.BigEndian.Uint16(msg)
	l.mu.Lock()
	w, ok := l.waiting[id]
	if ok {
		delete(l.waiting, id)
		if w == nil {
			l.abandoned--
		}
	}
	l.mu.Unlock()
	if w != nil {
		w.end(dotReply{id: id, msg: msg})
	}
	return ok
}

// end closes the connection and tells everyone who waits.
func (l *dotLink) end(why *Failure) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = why
	waiting := l.waiting
	l.waiting = nil
	close(l.ended)
	l.mu.Unlock()
	l.conn.Close()
	for _, w := range waiting {
		if w != nil {
			w.end(dotReply{fail: why})
		}
	}
}
