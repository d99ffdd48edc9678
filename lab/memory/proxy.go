package memory

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/socks"
)

// Trouble is one way in which a proxy fails.
type Trouble string

// The troubles of a proxy.
const (
	None    Trouble = ""
	Dead    Trouble = "accepts and says nothing"
	Garbage Trouble = "answers what no protocol knows"
	HangUp  Trouble = "closes the connection instead of answering"
	Denies  Trouble = "refuses every request"
)

// Proxy is an upstream proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT. It resolves the names that it is given,
// as the last proxy of a channel with `resolve: exit` does.
type Proxy struct {
	Name string
	At   netip.AddrPort

	in    *Internet
	serve func(*bufio.Reader, net.Conn)

	mu      sync.Mutex
	want    credentials
	trouble Trouble
	stop    func()
	asked   []string
	conns   map[net.Conn]bool

	http3       bool
	streamsOnly bool
	relays      uint16 // of datagrams, so far
}

type credentials struct{ user, password string }

// dialLimit is how long a proxy waits for the far side.
const dialLimit = 10 * time.Second

// SOCKS5 starts a proxy that wants this user and password, if any.
func (in *Internet) SOCKS5(name, at, user, password string) *Proxy {
	p := in.proxy(name, at, user, password)
	p.serve = p.serveSOCKS
	return p
}

// CONNECT starts a proxy that wants this user and password, if any.
func (in *Internet) CONNECT(name, at, user, password string) *Proxy {
	p := in.proxy(name, at, user, password)
	p.serve = p.serveHTTP
	return p
}

func (in *Internet) proxy(name, at, user, password string) *Proxy {
	p := &Proxy{
		Name: name, At: netip.MustParseAddrPort(at), want: credentials{user, password},
		in: in, conns: map[net.Conn]bool{},
	}
	p.Start()
	in.onClose(p.Stop)
	return p
}

// Start lets the proxy listen; it does from the beginning.
func (p *Proxy) Start() {
	if p.http3 {
		p.stop = p.startHTTP3()
		return
	}
	p.stop = p.in.listen(p.At, p.accept)
}

// Stop makes the proxy refuse connections, and ends those that are open.
func (p *Proxy) Stop() {
	p.stop()
	p.Kill()
}

// Kill ends the connections that are open.
func (p *Proxy) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// Fail makes the proxy fail from the next connection on, or work again.
func (p *Proxy) Fail(t Trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = t
}

// Want changes the user and the password that the proxy wants, for connections from now on.
func (p *Proxy) Want(user, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = credentials{user, password}
}

func (p *Proxy) wants() credentials {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
}

// Asked gives the targets that the proxy was asked for, as they were written.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *Proxy) accept(conn net.Conn) {
	p.mu.Lock()
	p.conns[conn] = true
	trouble := p.trouble
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
	}()
	r := bufio.NewReader(conn)
	switch trouble {
	case Dead:
		_, _ = io.Copy(io.Discard, r)
	case Garbage:
		_, _ = r.Peek(1)
		_, _ = conn.Write([]byte("\x00\xff\x13\x37 what is it?\r\n\r\n"))
		_, _ = io.Copy(io.Discard, r)
	case HangUp:
		_, _ = r.Peek(1)
	default:
		p.serve(r, conn)
	}
}

func (p *Proxy) denies() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble == Denies
}

// reach connects to what a client asked for.
func (p *Proxy) reach(host string, port uint16) (net.Conn, error) {
	p.mu.Lock()
	p.asked = append(p.asked, net.JoinHostPort(host, fmt.Sprint(port)))
	p.mu.Unlock()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		p.in.learn(p.Name, host)
		if addr, err = p.in.lookUp(host); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(p.in.ctx, dialLimit)
	defer cancel()
	return p.in.Ground(p.Name).DialAddr(ctx, netip.AddrPortFrom(addr, port))
}

var errNoName = errors.New("the name does not exist")

// lookUp finds a name in the zone, as the resolver of a party that is no business of the program's does.
func (in *Internet) lookUp(host string) (netip.Addr, error) {
	for _, t := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
		q := dnswire.Question{Name: dnswire.CanonicalName(host), Type: t}
		request := dnswire.Request{Question: q, RecursionDesired: true}
		b := in.zone.Handler()(in.ctx, &dnstest.Query{Request: request}).Wire
		if a, err := dnswire.ParseAnswer(b, q, 0); err == nil && len(a.Addrs()) > 0 {
			return a.Addrs()[0], nil
		}
	}
	return netip.Addr{}, errNoName
}

// carry moves octets both ways until one side ends.
func carry(client net.Conn, ahead io.Reader, far net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(far, ahead)
		far.Close()
	}()
	_, _ = io.Copy(client, far)
	client.Close()
	far.Close()
	<-done
}

// serveSOCKS is the server's side of RFC 1928.
func (p *Proxy) serveSOCKS(r *bufio.Reader, conn net.Conn) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 5 {
		return
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(r, methods); err != nil {
		return
	}
	want, method := p.wants(), byte(0)
	if want.user != "" {
		method = 2
	}
	if !slices.Contains(methods, method) {
		_, _ = conn.Write([]byte{5, 0xff})
		return
	}
	_, _ = conn.Write([]byte{5, method})
	if method == 2 && !readPassword(r, conn, want) {
		return
	}
	command, host, port, err := readSOCKSRequest(r)
	if err != nil {
		return
	}
	if p.denies() {
		_, _ = conn.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	if command == byte(socks.Associate) {
		p.associate(r, conn)
		return
	}
	far, err := p.reach(host, port)
	if err != nil {
		_, _ = conn.Write([]byte{5, socksCode(err), 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer far.Close()
	// A name where an address is expected (leaks.md, A7): whoever resolves it gives himself away.
	reply := append([]byte{5, 0, 0, 3, byte(len(BoundName))}, BoundName...)
	_, _ = conn.Write(append(reply, 0x10, 0x92))
	carry(conn, r, far)
}

// BoundName is what SOCKS5 proxies say they are bound to: text that nobody may resolve.
const BoundName = "bound-q4x9.provider-exit.net"

// readPassword reads RFC 1929, section 2, and says whether it is what is wanted.
func readPassword(r *bufio.Reader, conn net.Conn, want credentials) bool {
	var fields [2]string
	if _, err := r.ReadByte(); err != nil {
		return false
	}
	for i := range fields {
		n, err := r.ReadByte()
		if err != nil {
			return false
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return false
		}
		fields[i] = string(b)
	}
	good := fields == [2]string{want.user, want.password}
	if !good {
		_, _ = conn.Write([]byte{1, 1})
		return false
	}
	_, _ = conn.Write([]byte{1, 0})
	return true
}

func readSOCKSRequest(r io.Reader) (command byte, host string, port uint16, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, "", 0, err
	}
	size := map[byte]int{1: 4, 4: 16}[head[3]]
	if head[3] == 3 {
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return 0, "", 0, err
		}
		size = int(n[0])
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, "", 0, err
	}
	host = string(b[:size])
	if head[3] != 3 {
		addr, _ := netip.AddrFromSlice(b[:size])
		host = addr.String()
	}
	return head[1], host, binary.BigEndian.Uint16(b[size:]), nil
}

func socksCode(err error) byte {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return 5
	case errors.Is(err, context.DeadlineExceeded):
		return 6
	}
	return 4
}

// serveHTTP is the server's side of CONNECT (RFC 9110, section 9.3.6).
func (p *Proxy) serveHTTP(r *bufio.Reader, conn net.Conn) {
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	given := ""
	for {
		field, err := r.ReadString('\n')
		if err != nil {
			return
		}
		field = strings.TrimSpace(field)
		if field == "" {
			break
		}
		if key, value, _ := strings.Cut(field, ":"); strings.EqualFold(key, "Proxy-Authorization") {
			given = strings.TrimSpace(value)
		}
	}
	want := p.wants()
	if want.user != "" && given != "Basic "+base64.StdEncoding.EncodeToString([]byte(want.user+":"+want.password)) {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if p.denies() {
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	parts := strings.Fields(line)
	if len(parts) != 3 || parts[0] != "CONNECT" {
		return
	}
	host, portText, err := net.SplitHostPort(parts[1])
	var port uint16
	if _, scanErr := fmt.Sscan(portText, &port); err != nil || scanErr != nil {
		return
	}
	far, err := p.reach(host, port)
	if err != nil {
		status, word := "502 Bad Gateway", "destination_unavailable"
		switch {
		case errors.Is(err, errNoName):
			word = `dns_error; rcode="NXDOMAIN"`
		case errors.Is(err, syscall.ECONNREFUSED):
			word = "connection_refused"
		case errors.Is(err, context.DeadlineExceeded):
			status, word = "504 Gateway Timeout", "connection_timeout"
		}
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\nProxy-Status: memory; error=%s\r\nContent-Length: 0\r\n\r\n", status, word)
		return
	}
	defer far.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n")
	carry(conn, r, far)
}
