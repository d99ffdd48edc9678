package dnstest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"watertight/dnscrypt"
	"watertight/dnswire"
)

// Provider is who signs the certificates of resolvers of DNSCrypt. It is safe for concurrent use.
type Provider struct {
	Name string

	key     ed25519.PrivateKey
	mu      sync.Mutex
	serial  uint32
	servers []*dnscrypt.Server
	records []dnswire.Record
}

// NewProvider makes a provider with a key of its own and one certificate that is valid for long.
func NewProvider() *Provider {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	p := &Provider{Name: "2.dnscrypt-cert.provider.example", key: key}
	p.Renew(dnscrypt.Certificate{NotBefore: notBefore, NotAfter: notAfter})
	return p
}

// Key is the provider's public key, as a stamp has it.
func (p *Provider) Key() [32]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return [32]byte(p.key.Public().(ed25519.PublicKey))
}

// Renew puts a certificate with a fresh key and the next serial in the place of all others: what was encrypted under
// those is dropped from now on. Where it says no encryption, it is XChaCha20.
func (p *Provider) Renew(c dnscrypt.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Encryption == 0 {
		c.Encryption = dnscrypt.XChaCha20Poly1305
	}
	p.serial++
	c.Serial = p.serial
	s, err := dnscrypt.NewServer(c)
	if err != nil {
		panic(err)
	}
	signed, err := dnscrypt.Sign(p.key, s.Certificate())
	if err != nil {
		panic(err)
	}
	var text strings.Builder
	for _, b := range signed {
		fmt.Fprintf(&text, `\%03d`, b)
	}
	p.servers = []*dnscrypt.Server{s}
	p.records = []dnswire.Record{mustRecord(p.Name + `. 86400 TXT "` + text.String() + `"`)}
}

// Rekey gives the provider another key, which no stamp has, and one certificate that is signed with it, in the place of
// all others.
func (p *Provider) Rekey() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	p.key = key
	p.mu.Unlock()
	p.Renew(dnscrypt.Certificate{NotBefore: notBefore, NotAfter: notAfter})
}

// Withdraw leaves the provider without a certificate.
func (p *Provider) Withdraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers, p.records = nil, nil
}

func (p *Provider) open(packet []byte) ([]byte, *dnscrypt.Reply, error) {
	p.mu.Lock()
	servers := p.servers
	p.mu.Unlock()
	err := dnscrypt.ErrMagic
	for _, s := range servers {
		var msg []byte
		var r *dnscrypt.Reply
		if msg, r, err = s.Open(packet); err == nil {
			return msg, r, nil
		}
	}
	return nil, nil, err
}

// certificates answers a question in clear, with no more than the certificates: a relay sends nothing else back.
func (p *Provider) certificates(packet []byte) []byte {
	q, err := dnswire.ParseRequest(packet)
	if err != nil || q.Name != p.Name || q.Type != dnswire.TXT {
		return nil
	}
	q.EDNS = false
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := q.Pack(dnswire.Reply{Answer: p.records})
	if err != nil {
		return nil
	}
	return b
}

// cryptListener is both sockets of a resolver of DNSCrypt.
type cryptListener struct {
	net.Listener
	socket net.PacketConn
}

// Close closes both.
func (l cryptListener) Close() error {
	return errors.Join(ignoreClosed(l.Listener.Close()), ignoreClosed(l.socket.Close()))
}

// ServeDNSCrypt answers DNSCrypt version 2 on a listener and on a socket until they are closed. Questions in clear are
// answered with the provider's certificates and with nothing else.
func ServeDNSCrypt(l net.Listener, socket net.PacketConn, p *Provider, h Handler) *Server {
	s := newServer(cryptListener{l, socket}, h)
	c := &cryptServed{s: s, p: p, clients: map[[32]byte]int{}}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { c.serveConn(conn) })
		}
	})
	s.wg.Go(func() {
		buf := make([]byte, dnscrypt.MaxTCP)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			packet := append([]byte(nil), buf[:n]...)
			s.wg.Go(func() {
				if reply := c.reply(packet, from, (*dnscrypt.Reply).SealUDP); reply != nil {
					socket.WriteTo(reply, from)
				}
			})
		}
	})
	return s
}

// cryptServed is a resolver of DNSCrypt at work.
type cryptServed struct {
	s *Server
	p *Provider

	mu      sync.Mutex
	clients map[[32]byte]int // the ordinals of the clients' keys
}

// client numbers a client's key, which stands behind the magic.
func (c *cryptServed) client(packet []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [32]byte(packet[8:])
	if c.clients[key] == 0 {
		c.s.mu.Lock()
		c.s.total++
		c.clients[key] = c.s.total
		c.s.mu.Unlock()
	}
	return c.clients[key]
}

func (c *cryptServed) serveConn(conn net.Conn) {
	c.s.mu.Lock()
	c.s.live[conn] = 0 // it is no session
	c.s.mu.Unlock()
	defer c.s.leave(conn)
	if c.s.ctx.Err() != nil {
		return
	}
	for {
		packet, err := readFrame(conn)
		if err != nil {
			return
		}
		reply := c.reply(packet, conn.RemoteAddr(), (*dnscrypt.Reply).SealTCP)
		if reply == nil {
			return
		}
		conn.Write(frame(reply))
	}
}

// reply gives what is sent back, or nothing.
func (c *cryptServed) reply(packet []byte, from net.Addr, seal func(*dnscrypt.Reply, []byte) ([]byte, error)) []byte {
	msg, r, err := c.p.open(packet)
	if err != nil {
		return c.p.certificates(packet)
	}
	q := &Query{Raw: msg, Transport: DNSCrypt, Conn: c.client(packet), Client: from}
	reply, err := c.s.answer(c.s.ctx, q)
	switch {
	case err != nil || reply.Close:
		return nil
	case reply.Wire == nil:
		<-c.s.ctx.Done()
		return nil
	}
	sealed, err := seal(r, reply.Wire)
	if errors.Is(err, dnscrypt.ErrTooLong) { // only the question, and the bit that says so
		short := q.Send(dnswire.Reply{}).Wire
		short[2] |= 1 << 1
		sealed, err = seal(r, short)
	}
	if err != nil {
		return nil
	}
	return sealed
}
