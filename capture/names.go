package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Means is how a name could be read off the wire.
type Means string

// The means by which names travel in the clear.
const (
	ByDNS  Means = "dns"  // a question (RFC 1035)
	BySNI  Means = "sni"  // the server name of a TLS ClientHello (RFC 6066, section 3)
	ByHost Means = "host" // an HTTP request's Host or CONNECT target (RFC 9110, section 7.2)
)

// Read is a name that an onlooker read.
type Read struct {
	Time  time.Time
	Point string
	Means Means
	Name  string // lower case, no trailing dot
	Type  string // a question's type: "A", "AAAA"
	Proto Proto
	To    netip.AddrPort
}

// Names reads, as an onlooker would, the names that stand in the clear: DNS questions on any port that look like
// one, server names in handshakes of TLS and QUIC, hosts in HTTP requests. Oldest first.
func Names(packets []Packet) []Read {
	var out []Read
	for _, p := range packets {
		if p.Proto != UDP {
			continue
		}
		if q, ok := question(p.Payload); ok {
			out = append(out, read(p, ByDNS, q.Name.String(), typeName(q.Type)))
		}
	}
	for _, s := range Streams(packets) {
		out = append(out, s.names()...)
	}
	out = append(out, quicNames(packets)...)
	sortReads(out)
	return out
}

// Begins reads the names that stand in the clear at the beginning of what one side sends, of which p is the first packet: in a
// datagram, or in as much of a stream as is given.
func Begins(p *Packet, data []byte) []Read {
	if p.Proto == UDP {
		if q, ok := question(data); ok {
			return []Read{read(*p, ByDNS, q.Name.String(), typeName(q.Type))}
		}
		return nil
	}
	return (&Stream{First: *p, Data: data}).names()
}

func (s *Stream) names() []Read {
	if host, ok := ServerName(s.Data); ok {
		return []Read{read(s.First, BySNI, host, "")}
	}
	if host, ok := httpHost(s.Data); ok {
		return []Read{read(s.First, ByHost, host, "")}
	}
	var out []Read
	for b := s.Data; len(b) > 2; { // RFC 1035, section 4.2.2: a length before each message
		n := int(binary.BigEndian.Uint16(b))
		if n < 12 || len(b) < 2+n {
			break
		}
		q, ok := question(b[2 : 2+n])
		if !ok {
			break
		}
		out = append(out, read(s.First, ByDNS, q.Name.String(), typeName(q.Type)))
		b = b[2+n:]
	}
	return out
}

func read(p Packet, by Means, host, kind string) Read {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return Read{Time: p.Time, Point: p.Point, Means: by, Name: host, Type: kind, Proto: p.Proto, To: p.To}
}

func sortReads(r []Read) {
	for i := 1; i < len(r); i++ {
		for j := i; j > 0 && r[j].Time.Before(r[j-1].Time); j-- {
			r[j], r[j-1] = r[j-1], r[j]
		}
	}
}

// question reads a DNS query: one question, no answer, and nothing else it could be.
func question(b []byte) (dnsmessage.Question, bool) {
	var parser dnsmessage.Parser
	header, err := parser.Start(b)
	if err != nil || header.Response || header.OpCode != 0 || binary.BigEndian.Uint16(b[4:]) != 1 {
		return dnsmessage.Question{}, false
	}
	q, err := parser.Question()
	if err != nil || q.Class&0x7fff != dnsmessage.ClassINET { // multicast DNS uses the top bit (RFC 6762, section 5.4)
		return dnsmessage.Question{}, false
	}
	return q, true
}

func typeName(t dnsmessage.Type) string {
	if t == 65 {
		return "HTTPS"
	}
	return strings.TrimPrefix(t.String(), "Type")
}

// ServerName reads the server name of a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).
func ServerName(b []byte) (string, bool) {
	r := reader{b: b}
	if r.number(1) != 22 { // a handshake record
		return "", false
	}
	r.number(2)
	return helloServerName(r.vector(2))
}

// helloServerName is ServerName without the record layer.
func helloServerName(b []byte) (string, bool) {
	r := reader{b: b}
	if r.number(1) != 1 { // a ClientHello
		return "", false
	}
	r = reader{b: r.vector(3), bad: r.bad}
	r.take(2 + 32) // version and random
	r.vector(1)    // session
	r.vector(2)    // cipher suites
	r.vector(1)    // compression
	r = reader{b: r.vector(2), bad: r.bad}
	for !r.bad && len(r.b) > 0 {
		id, body := r.number(2), r.vector(2)
		if id != 0 {
			continue
		}
		list := reader{b: body, bad: r.bad}
		list = reader{b: list.vector(2), bad: list.bad}
		kind, host := list.number(1), list.vector(2)
		return string(host), !list.bad && kind == 0
	}
	return "", false
}

// reader takes TLS's fields off a message; once it ran short, bad stays set and everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) number(octets int) int {
	n := 0
	for _, c := range r.take(octets) {
		n = n<<8 | int(c)
	}
	return n
}

func (r *reader) vector(octets int) []byte { return r.take(r.number(octets)) }

// httpHost reads the target of an HTTP/1.1 request.
func httpHost(b []byte) (string, bool) {
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return "", false
	}
	lines := strings.Split(string(head), "\r\n")
	if !strings.Contains(lines[0], " HTTP/1.") {
		return "", false
	}
	if target, isConnect := strings.CutPrefix(lines[0], "CONNECT "); isConnect {
		target, _, _ = strings.Cut(target, " ")
		return target, true
	}
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(key, "Host") {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
