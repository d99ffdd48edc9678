package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"watertight/dnscrypt"
	"watertight/dnswire"
)

// cryptLink is one session of DNSCrypt: a certificate and a key pair, and a flow of datagrams where there is one.
// Questions go in datagrams; those that have no room there, and whose answers have none, over TCP, each over a
// connection of its own.
type cryptLink struct {
	*cryptOpener
	session *dnscrypt.Client
	since   time.Time
	flow    net.Conn // nil where the way out, or the network, carries connections only
	ended   chan struct{}

	mu      sync.Mutex
	err     *Failure // why the session ended
	minimum int      // of a question in a datagram: it grows as answers turn out to be longer
	waiting map[*cryptWait]struct{}
}

// cryptWait is a question in a datagram that waits for its response.
type cryptWait struct {
	*dnscrypt.Exchange
	reply chan []byte // closed when the session has ended
}

func newCryptLink(o *cryptOpener, session *dnscrypt.Client, flow net.Conn) *cryptLink {
	l := &cryptLink{
		cryptOpener: o, session: session, since: o.c.now(), flow: flow, ended: make(chan struct{}),
		minimum: dnscrypt.MinMinimum, waiting: map[*cryptWait]struct{}{},
	}
	if flow != nil {
		o.c.wg.Go(l.read)
	}
	return l
}

func (l *cryptLink) done() <-chan struct{} { return l.ended }

// room is false once the certificate is old: the next question is asked under a new one. The session ends when nobody
// waits for anything in it.
func (l *cryptLink) room() bool {
	now := l.c.now()
	if now.Sub(l.since) < certificateAge && l.session.Certificate().ValidAt(now) == nil {
		return true
	}
	l.mu.Lock()
	idle := len(l.waiting) == 0
	l.mu.Unlock()
	if idle {
		l.end(l.c.broke(errors.New("the certificate is too old")))
	}
	return false
}

func (l *cryptLink) close() { l.end(l.c.broke(errors.New("given up"))) }

func (l *cryptLink) end(why *Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = why
	for w := range l.waiting {
		close(w.reply)
	}
	l.waiting = nil
	close(l.ended)
	if l.flow != nil {
		l.flow.Close()
	}
}

// exchange asks in a datagram, and over TCP what has no room in one.
func (l *cryptLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	id := uint16(rand.Uint32())
	msg, err := l.c.query(q, id, 0) // the padding is that of DNSCrypt, before it encrypts
	if err != nil {
		return nil, badQuestion(q, err)
	}
	reply, fail := l.askInPackets(ctx, msg)
	if fail == nil && (reply == nil || truncated(reply)) {
		reply, fail = l.askOverTCP(ctx, msg)
	}
	if fail != nil {
		return nil, fail
	}
	a, err := dnswire.ParseAnswer(reply, q, id)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	return a, nil
}

func truncated(msg []byte) bool { return len(msg) > 2 && msg[2]&0x02 != 0 }

// askInPackets gives no reply where the question has to go over TCP.
func (l *cryptLink) askInPackets(ctx context.Context, msg []byte) ([]byte, *Failure) {
	if l.flow == nil {
		return nil, nil
	}
	l.mu.Lock()
	minimum := l.minimum
	l.mu.Unlock()
	packet, x, err := l.session.SealUDP(msg, minimum)
	if errors.Is(err, dnscrypt.ErrTooLong) {
		return nil, nil
	}
	if err != nil {
		return nil, l.c.unreachable("cannot be asked", err)
	}
	w := &cryptWait{x, make(chan []byte, 1)}
	if fail := l.wait(w); fail != nil {
		return nil, fail
	}
	defer l.leave(w)
	packet = l.relayed(packet)
	timer := time.NewTimer(resendAfter)
	defer timer.Stop()
	for pause := resendAfter; ; pause *= 2 {
		if _, err := l.flow.Write(packet); err != nil {
			l.end(l.c.broke(err))
		}
		select {
		case reply, ok := <-w.reply:
			if !ok {
				if ctx.Err() != nil {
					return nil, l.c.timeout(ctx.Err())
				}
				return nil, l.c.broke(errors.New("the session ended"))
			}
			if truncated(reply) {
				l.grow(minimum)
			}
			return reply, nil
		case <-timer.C:
			timer.Reset(2 * pause)
		case <-ctx.Done():
			return nil, l.c.timeout(ctx.Err())
		}
	}
}

// grow makes later questions longer, so that answers have more room.
func (l *cryptLink) grow(from int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.minimum = max(l.minimum, dnscrypt.NextMinimum(from))
}

func (l *cryptLink) wait(w *cryptWait) *Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.c.broke(l.err)
	}
	l.waiting[w] = struct{}{}
	return nil
}

func (l *cryptLink) leave(w *cryptWait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, w)
}

// read hands out responses until the flow ends. What nobody waits for, or cannot be decrypted, is thrown away: anybody
// can send it.
func (l *cryptLink) read() {
	buf := make([]byte, 4096) // more than the longest response, which is not longer than its question
	for {
		n, err := l.flow.Read(buf)
		if err != nil {
			l.end(l.c.broke(err))
			return
		}
		l.deliver(buf[:n])
	}
}

func (l *cryptLink) deliver(packet []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.waiting {
		if msg, err := w.Open(packet); err == nil {
			delete(l.waiting, w)
			w.reply <- msg
			return
		}
	}
}

// askOverTCP asks over a connection of its own. A relay may send the question on in a datagram, so it is made longer
// where the answer had no room.
func (l *cryptLink) askOverTCP(ctx context.Context, msg []byte) ([]byte, *Failure) {
	minimum := 0
	if l.header != nil {
		minimum = relayedTCP
	}
	for {
		packet, x, err := l.session.SealTCP(msg, minimum)
		if err != nil {
			return nil, l.c.unreachable("cannot be asked", err)
		}
		sealed, fail := l.overTCP(ctx, packet)
		if fail != nil {
			return nil, fail
		}
		reply, err := x.Open(sealed)
		if err != nil {
			return nil, l.c.untrusted("its response cannot be decrypted", "", err)
		}
		if l.header == nil || !truncated(reply) || minimum >= dnscrypt.MaxRelayed {
			return reply, nil
		}
		minimum = dnscrypt.MaxRelayed
	}
}
