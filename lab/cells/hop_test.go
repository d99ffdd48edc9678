package cells

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/proxytest"
	"watertight/name"
	"watertight/socks"
)

var proxyAt = netip.MustParseAddrPort(lab.ProxyAddress)

// kind is a protocol of hops.
type kind struct {
	name, scheme string
	port         uint16
	tls          []string // over TLS: its identifications (RFC 7301); nil: it is not
}

var kinds = []kind{{name: "socks5", scheme: "socks5", port: 1080}, {name: "http", scheme: "http", port: 3128}}

// datagrams says whether hops of the kind carry them.
func (k kind) datagrams() bool { return k.scheme == "socks5" || k.scheme == "h3" }

// peers are whom a client of the hop exchanges packets with.
func (h *hop) peers(k kind) []capture.Peer {
	peers := h.Peers(capture.TCP, k.port)
	if k.datagrams() {
		peers = append(peers, h.Peers(capture.UDP, k.port)...)
		peers = append(peers, h.Peers(capture.Other, 0)...) // what the relay's header makes too long comes in fragments
	}
	return peers
}

// hop is an upstream proxy that notes what it was asked for.
type hop struct {
	*internet.Host
	authority netip.AddrPort
	cert      tls.Certificate // of a hop over TLS
	clients   *x509.CertPool  // who certifies its clients; nil: it asks for no certificate

	bound   string      // the name in its replies of SOCKS; empty: none
	streams atomic.Bool // it refuses to carry datagrams
	cut     atomic.Bool // it ends each connection with the first octets that it should carry to port 443
	hangsUp atomic.Bool // it ends each connection at once

	mu       sync.Mutex
	listener net.Listener
	relay    *proxytest.SOCKSRelay // of datagrams, on the port of the listener
	conns    []net.Conn
	asked    []string // as it was sent: names as names, addresses as addresses
}

// log gives what the hop was asked for.
func (h *hop) log() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.asked...)
}

// addHop connects a hop that speaks a protocol, and publishes its name.
func addHop(t testing.TB, s *lab.Scene, host string, k kind) *hop {
	t.Helper()
	h := &hop{Host: lab.Must(s.AddHost("hop"))(t), authority: s.Authority.At(53)}
	h.cert = s.CA.Issue([]string{host}, h.Addrs())
	if err := s.Authority.Publish(host, h.Host); err != nil {
		t.Fatal(err)
	}
	h.open(t, k)
	return h
}

func (h *hop) open(t testing.TB, k kind) {
	t.Helper()
	l := listen(t, h.Host, k.port)
	h.mu.Lock()
	h.listener = l
	h.mu.Unlock()
	if k.datagrams() {
		relay := proxytest.ServeSOCKSRelay(lab.Must(h.ListenUDP(k.port))(t), func(target name.Target) (net.Conn, error) {
			h.note(target)
			return h.reach(context.Background(), target, h.DialUDP)
		})
		h.mu.Lock()
		h.relay = relay
		h.mu.Unlock()
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			closed := h.listener != l // since it was accepted
			if !closed {
				h.conns = append(h.conns, conn)
			}
			h.mu.Unlock()
			if closed {
				_ = conn.Close()
				return
			}
			go h.serve(t.Context(), k, conn)
		}
	}()
}

// close lets nothing listen at the hop any more, and ends its connections.
func (h *hop) close(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	listener, conns, relay := h.listener, h.conns, h.relay
	h.listener, h.conns, h.relay = nil, nil, nil
	h.mu.Unlock()
	lab.Must(0, listener.Close())(t)
	for _, conn := range conns {
		_ = conn.Close()
	}
	if relay != nil {
		_ = relay.Close() // which waits for what it does, and that may want the lock
	}
}

func (h *hop) serve(ctx context.Context, k kind, near net.Conn) {
	defer near.Close()
	if h.hangsUp.Load() {
		return
	}
	if near = h.secured(k, near); near == nil {
		return
	}
	if k.scheme == "h2" {
		h.serveH2(ctx, near)
		return
	}
	var (
		buf    socks.Buffer
		from   io.Reader = near
		target name.Target
		reply  []byte
		refuse []byte // the answer where nothing listens there
	)
	if strings.HasPrefix(k.scheme, "http") {
		r := bufio.NewReader(near)
		request, err := http.ReadRequest(r)
		if err != nil || request.Method != http.MethodConnect {
			return
		}
		if target, err = name.Parse(request.Host); err != nil {
			return
		}
		from, reply = r, []byte("HTTP/1.1 200 OK\r\n\r\n")
		refuse = []byte("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: hop; error=connection_refused\r\nContent-Length: 0\r\n\r\n")
	} else {
		request, early, err := socks.ReadRequest(near, nil, &buf, socks.Everyone{})
		if request.Command == socks.Associate && (err == nil || errors.Is(err, socks.ErrCommand)) {
			h.associate(near, request, k)
			return
		}
		if err != nil || len(early) > 0 {
			return
		}
		if target, err = name.New(request.Host, request.Port); err != nil {
			return
		}
		reply = request.AppendReply(nil, socks.Succeeded, netip.AddrPort{})
		refuse = request.AppendReply(nil, socks.ConnectionRefused, netip.AddrPort{})
		if h.bound != "" {
			const domain = 3
			reply = append([]byte{5, 0, 0, domain, byte(len(h.bound))}, h.bound+"\x01\xbb"...)
		}
	}
	h.note(target)
	far, err := h.reach(ctx, target, h.Dial)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, _ = near.Write(refuse)
	}
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := near.Write(reply); err != nil {
		return
	}
	if h.cut.Load() && target.Port() == 443 {
		_, _ = from.Read(make([]byte, 1))
		return
	}
	go func() {
		_, _ = io.Copy(far, from)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
}

// associate lets the relay carry datagrams as long as the client's connection lives.
func (h *hop) associate(near net.Conn, request socks.Request, k kind) {
	code := socks.Succeeded
	if h.streams.Load() {
		code = socks.CommandUnsupported
	}
	reply := request.AppendReply(nil, code, netip.AddrPortFrom(netip.IPv4Unspecified(), k.port))
	if h.bound != "" {
		const domain = 3
		reply = append([]byte{5, 0, 0, domain, byte(len(h.bound))}, h.bound+"\x01\xbb"...)
	}
	if _, err := near.Write(reply); err == nil && code == socks.Succeeded {
		_, _ = io.Copy(io.Discard, near)
	}
}

func (h *hop) note(target name.Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, target.String())
}

// reach connects to a target by dial. A name is resolved as hops do it: in plaintext, here by asking the authority itself.
func (h *hop) reach(ctx context.Context, target name.Target, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	if at, ok := target.AddrPort(); ok {
		return dial(ctx, at)
	}
	host, _ := target.Host().Name()
	q := dnswire.Question{Name: host, Type: dnswire.A}
	if !h.Addr4.IsValid() {
		q.Type = dnswire.AAAA
	}
	message, err := dnswire.Query(q, 1, 0)
	if err != nil {
		return nil, err
	}
	b, err := h.Ask(h.authority, message)
	if err != nil {
		return nil, err
	}
	answer, err := dnswire.ParseAnswer(b, q, 1)
	if err != nil {
		return nil, err
	}
	for _, a := range answer.Addrs() {
		return dial(ctx, netip.AddrPortFrom(a, target.Port()))
	}
	return nil, fmt.Errorf("%s has no address", host)
}

// farChannel is a configuration whose traffic goes to the channel `far`, over `direct` and through a hop that has a
// name.
type farChannel struct {
	kind    kind
	missing bool       // the hop's name is not published
	login   string     // "user:password@", or empty
	named   string     // the resolver of `far`, by its name alone
	via     *transport // by which the resolver of `far` is asked; nil: DNS over TLS

	hop      *hop
	resolver *internet.Resolver // of `far`
}

// host is the hop's name. The canary's label is in it: it is searched for like the canary.
func (f *farChannel) host(s *lab.Scene) string { return "gw-" + s.Label + ".example.net" }

// arrange connects the hop and the resolver of `far`, and permits the client's host what it needs and no more: the
// origin and the resolver of `far` are reached through the hop, or not at all.
func (f *farChannel) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	host := f.host(s)
	if f.missing {
		host = "unused.example.net"
	}
	f.hop = addHop(t, s, host, f.kind)
	f.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	if f.named != "" {
		lab.Must(0, s.Authority.Publish("dns2.example.net", f.resolver.Host))(t)
	}
	s.Permitted = append(s.Resolver.Peers(), f.hop.peers(f.kind)...)
	s.Readers = f.hop.Peers(capture.TCP, f.kind.port)
	s.Asking = []*internet.Host{f.resolver.Host}
}

// config gives the configuration with `resolve: here` or `resolve: exit`.
func (f *farChannel) config(s *lab.Scene, resolve string) string {
	url := fmt.Sprintf("%s://%s%s:%d", f.kind.scheme, f.login, f.host(s), f.kind.port)
	far := fmt.Sprintf("over: direct, proxy: %s, resolve: %s", f.kind.written(s, url), resolve)
	if resolve == "here" {
		far += ", resolver: " + resolver(s, f.upstream(s))
	}
	return direct(s, s.Resolver.DoTURL()) + "  far: {" + far + "}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

// upstream is the resolver of `far` as the configuration has it.
func (f *farChannel) upstream(s *lab.Scene) string {
	if f.named != "" {
		return f.named
	}
	if f.via == nil {
		return f.resolver.DoTURL()
	}
	return f.via.written(f.beyond(s), "")
}

// beyond is the scene as `far` sees it: with its own resolver.
func (f *farChannel) beyond(s *lab.Scene) *lab.Scene {
	there := *s
	there.Resolver = f.resolver
	return &there
}

func (f *farChannel) cell(resolve string) lab.Cell {
	return lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			f.arrange(t, s)
			if resolve == "exit" {
				s.Asking = []*internet.Host{f.hop.Host}
			}
		},
		Start: with(func(s *lab.Scene) string { return f.config(s, resolve) }),
	}
}
