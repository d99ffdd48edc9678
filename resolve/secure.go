package resolve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"watertight/fault"
	"watertight/upstream"
)

// stagger is how long an address of an upstream has before the next one is tried beside it.
const stagger = 250 * time.Millisecond

var errPin = errors.New("no certificate of the chain has a pinned key")

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// secured gives the TLS configuration of an upstream: the one place where it is made. The strict profile only
// (RFC 8310, section 5).
func (u *client) secured(now func() time.Time) (*tls.Config, error) {
	roots, err := u.Roots()
	if err != nil {
		return nil, err
	}
	alpn := "dot"
	if u.Kind == upstream.DoH {
		alpn = "h2"
	}
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ServerName:       u.ServerName,
		RootCAs:          roots,
		NextProtos:       []string{alpn},
		VerifyConnection: u.verify,
		Time:             now,
	}, nil
}

// verify checks the pins. crypto/tls calls it on every connection, resumed ones too, after the chain and the name are
// verified. A pin may be of any certificate of a verified chain (RFC 7858, section 4.2).
func (u *client) verify(cs tls.ConnectionState) error {
	if len(u.Pins) == 0 {
		return nil
	}
	for _, chain := range cs.VerifiedChains {
		for _, c := range chain {
			if slices.Contains(u.Pins, sha256.Sum256(c.RawSubjectPublicKeyInfo)) {
				return nil
			}
		}
	}
	return errPin
}

// tickets are the TLS sessions of one upstream of one Resolver: nothing else ever sees them.
type tickets struct {
	mu  sync.Mutex
	lru tls.ClientSessionCache
}

func newTickets() *tickets { return &tickets{lru: tls.NewLRUClientSessionCache(4)} }

// current is where a new connection finds its session and leaves others: one that was made before forget, and gets a
// ticket after it, leaves that where nobody looks any more.
func (t *tickets) current() tls.ClientSessionCache {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru
}

func (t *tickets) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru = tls.NewLRUClientSessionCache(4)
}

// connect gives an authenticated connection to the upstream: to whichever of its addresses is the first to prove who
// it is. They are started one after the other, the one that served last first.
func (u *client) connect(ctx context.Context) (*tls.Conn, *failure) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn *tls.Conn
		fail *failure
		i    int
	}
	results := make(chan result, len(u.Addrs))
	first := int(u.lastGood.Load())
	started, ended := 0, 0
	start := func() {
		i := (first + started) % len(u.Addrs)
		started++
		u.wg.Go(func() {
			conn, fail := u.handshake(ctx, u.Addrs[i])
			results <- result{conn, fail, i}
		})
	}
	start()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var worst *failure
	for ended < started {
		select {
		case <-timer.C:
			if started < len(u.Addrs) {
				start()
				timer.Reset(stagger)
			}
		case r := <-results:
			ended++
			if r.fail == nil {
				u.lastGood.Store(int32(r.i))
				u.wg.Go(func() { // the losers; cancel ends them
					for ; ended < started; ended++ {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				})
				return r.conn, nil
			}
			worst = worse(worst, r.fail)
			if started < len(u.Addrs) && ctx.Err() == nil {
				start()
				timer.Reset(stagger)
			}
		}
	}
	return nil, worst
}

func (u *client) handshake(ctx context.Context, to netip.AddrPort) (*tls.Conn, *failure) {
	raw, err := u.dial(ctx, to)
	if err != nil {
		return nil, u.dialFailure(ctx, err)
	}
	fault.Reached(ctx)
	secured := u.tls.Clone()
	secured.ClientSessionCache = u.tickets.current()
	conn := tls.Client(raw, secured)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, u.tlsFailure(ctx, err)
	}
	if u.Kind == upstream.DoH && conn.ConnectionState().NegotiatedProtocol != "h2" {
		conn.Close()
		return nil, u.unreachable("does not speak HTTP/2", nil)
	}
	return conn, nil
}

// tlsFailure tells a server that proved the wrong thing from a connection that ended.
func (u *client) tlsFailure(ctx context.Context, err error) *failure {
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.Is(err, errPin):
		return u.untrusted("none of its keys is pinned", "compare `pins` with what the resolver's operator publishes", err)
	case errors.As(err, &host):
		return u.untrusted("its certificate does not cover "+u.ServerName, "check the name in the URL, or give `name:`", err)
	case errors.As(err, &authority):
		return u.untrusted("its certificate is from an unknown authority", "give the authority's certificate with `ca:` or `--ca`", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return u.untrusted("its certificate is expired or not valid yet", "check this host's clock; if it is right, the resolver's operator has to renew", err)
	case errors.As(err, &record):
		return u.untrusted("it does not speak TLS on that port", "check address and port of the resolver", err)
	case ctx.Err() != nil || isTimeout(err):
		return u.timeout(err)
	case strings.Contains(err.Error(), "no application protocol"):
		return u.unreachable("does not speak "+map[upstream.Kind]string{upstream.DoH: "HTTP/2", upstream.DoT: "DNS over TLS"}[u.Kind]+" on that port", err)
	case strings.Contains(err.Error(), "protocol version"):
		return u.untrusted("it does not speak TLS 1.3", "older versions of TLS are not accepted", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE),
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		return u.unreachable("closed the connection during the TLS handshake", err)
	}
	return u.untrusted("the TLS handshake failed", "", err)
}
