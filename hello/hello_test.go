package hello

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/name"
)

// tlsHello gives what a client of TLS says first.
func tlsHello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = tls.Client(near, c).HandshakeContext(ctx) }()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return b[:n]
}

// ech is a list of configurations with a public name (RFC 9849, section 4).
func ech(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	c := append([]byte{7, 0, 0x20}, vector(key.PublicKey().Bytes())...)
	c = append(append(c, vector([]byte{0, 1, 0, 1})...), 32, byte(len(public)))
	c = append(append(c, public...), 0, 0)
	return vector(append([]byte{0xfe, 0x0d}, vector(c)...))
}

// inRecords cuts the handshake of a stream into records of so many octets.
func inRecords(stream []byte, octets int) []byte {
	var out []byte
	for part := range slices.Chunk(stream[5:], octets) {
		out = append(append(out, 22, 3, 1, byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

func TestTheNameOfAHelloOfTLSIsRead(t *testing.T) {
	whole := tlsHello(t, &tls.Config{ServerName: "API.Example.com"})
	for title, stream := range map[string][]byte{
		"in one record": whole, "in records of 100 octets": inRecords(whole, 100), "in records of one octet": inRecords(whole, 1),
		"with more behind it": append(slices.Clone(whole), "early"...),
	} {
		said, state := Stream(stream)
		if state != Named || said.Host != name.MustHost("api.example.com") || said.Hidden {
			t.Errorf("%s: %+v, %v", title, said, state)
		}
	}
	for cut := range len(whole) {
		if said, state := Stream(whole[:cut]); state != More || said.Host.IsValid() {
			t.Fatalf("%d octets of it: %+v, %v", cut, said, state)
		}
	}
}

func TestAHelloThatIsEncryptedIsTold(t *testing.T) {
	stream := tlsHello(t, &tls.Config{ServerName: "secret.example.com", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: ech(t, "cover.example.net")})
	if said, state := Stream(stream); state != Named || said.Host != name.MustHost("cover.example.net") || !said.Hidden {
		t.Errorf("%+v, %v", said, state)
	}
}

func TestWhatNamesNobodyIsNothing(t *testing.T) {
	whole := tlsHello(t, &tls.Config{ServerName: "api.example.com"})
	alter := func(change func(b []byte) []byte) []byte { return change(slices.Clone(whole)) }
	at := slices.Index(whole, 'a') // any place where the name might begin
	for i := range whole {
		if strings.HasPrefix(string(whole[i:]), "api.example.com") {
			at = i
		}
	}
	for title, stream := range map[string][]byte{
		"SSH":                        []byte("SSH-2.0-OpenSSH_9\r\n"),
		"lower case":                 []byte("get / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
		"a binary protocol":          {0x00, 0x01},
		"another record":             {23, 3, 3, 0, 1, 0},
		"a record of nothing":        {22, 3, 1, 0, 0},
		"a record that is too long":  {22, 3, 1, 0xff, 0xff},
		"a ServerHello":              {22, 3, 1, 0, 1, 2},
		"a hello that is too long":   {22, 3, 1, 0, 4, 1, 1, 0, 0},
		"no name":                    tlsHello(t, &tls.Config{InsecureSkipVerify: true}),
		"an address":                 tlsHello(t, &tls.Config{ServerName: "192.0.2.1"}),
		"no valid name":              alter(func(b []byte) []byte { b[at] = ' '; return b }),
		"a name with another length": alter(func(b []byte) []byte { b[at-1]--; return b }),
		"HTTP/2":                     []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"no host":                    []byte("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
		"an empty host":              []byte("GET / HTTP/1.1\r\nHost:\r\n\r\n"),
		"two hosts":                  []byte("GET / HTTP/1.1\r\nHost: a.example\r\nhost: b.example\r\n\r\n"),
		"a host that is an address":  []byte("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"),
		"IPv6":                       []byte("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"),
		"a target with a host":       []byte("GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"),
		"CONNECT":                    []byte("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n"),
		"a space before the colon":   []byte("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n"),
		"a line that goes on":        []byte("GET / HTTP/1.1\r\nX: y\r\n Host: a.example\r\n\r\n"),
		"a long method":              []byte(strings.Repeat("A", 30)),
		"an endless head":            []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", MaxStream)),
		"a port that is none":        []byte("GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n"),
	} {
		if said, state := Stream(stream); state != Nothing || said.Host.IsValid() {
			t.Errorf("%s: %+v, %v", title, said, state)
		}
	}
}

func TestTheHostOfARequestIsRead(t *testing.T) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: A.example\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nhOsT:a.example:8080 \r\n\r\nbody",
		"M-SEARCH /x HTTP/1.0\r\nX: y\r\nHost: a.example.\r\n\r\n",
	} {
		if said, state := Stream([]byte(head)); state != Named || said.Host != name.MustHost("a.example") {
			t.Errorf("%q: %+v, %v", head, said, state)
		}
		for cut := range strings.Index(head, "\r\n\r\n") {
			if said, state := Stream([]byte(head[:cut])); state != More {
				t.Fatalf("%q: %+v, %v", head[:cut], said, state)
			}
		}
	}
}

// nobody is a socket to which nothing ever comes. It stops the client when the first packets were sent.
type nobody struct {
	net.PacketConn
	enough context.CancelFunc
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	sent [][]byte
}

func (n *nobody) WriteTo(b []byte, _ net.Addr) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sent = append(n.sent, slices.Clone(b)); len(n.sent) == 2 { // a hello of today fills two
		n.enough()
	}
	return len(b), nil
}

func (n *nobody) ReadFrom([]byte) (int, net.Addr, error) {
	<-n.closed
	return 0, nil, net.ErrClosed
}

// SetReadDeadline is how QUIC stops reading.
func (n *nobody) SetReadDeadline(time.Time) error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *nobody) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000} }

// quicHello gives the first datagrams of a client of QUIC.
func quicHello(t testing.TB, host string, v quic.Version) [][]byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := &nobody{enough: cancel, closed: make(chan struct{})}
	transport := &quic.Transport{Conn: n}
	_, err := transport.Dial(ctx, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443}, &tls.Config{ServerName: host, NextProtos: []string{"h3"}}, &quic.Config{Versions: []quic.Version{v}})
	transport.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil || len(n.sent) < 2 {
		t.Fatalf("%d datagrams, %v", len(n.sent), err)
	}
	return n.sent[:2]
}

func TestTheNameOfAHelloOfQUICIsRead(t *testing.T) {
	for _, v := range []quic.Version{quic.Version1, quic.Version2} {
		sent := quicHello(t, "api.example.com", v)
		for _, order := range [][2]int{{0, 1}, {1, 0}} {
			var q QUIC
			_, first := q.Add(sent[order[0]])
			said, state := q.Add(sent[order[1]])
			if first != More || state != Named || said.Host != name.MustHost("api.example.com") {
				t.Errorf("%v: after one datagram %v, then %+v, %v", v, first, said, state)
			}
		}
	}
}

func TestWhatIsNotQUICNamesNobody(t *testing.T) {
	sent := quicHello(t, "api.example.com", quic.Version1)
	other := slices.Clone(sent[0])
	other[4] = 9 // a version that nobody knows
	for title, b := range map[string][]byte{
		"nothing": {}, "short": []byte("hello"), "long": make([]byte, 1300), "all ones": slices.Repeat([]byte{0xff}, 1300),
		"another version": other, "cut off": sent[0][:1100],
	} {
		var q QUIC
		if said, state := q.Add(b); state != Nothing {
			t.Errorf("%s: %+v, %v", title, said, state)
		}
	}
	var q QUIC
	damaged := slices.Clone(sent[0])
	damaged[600]++
	for range maxPackets {
		if said, state := q.Add(damaged); state != More {
			t.Fatalf("a packet that does not open: %+v, %v", said, state)
		}
	}
	if _, state := q.Add(sent[0]); state != Nothing {
		t.Error("it is looked at without end")
	}
}

func FuzzStream(f *testing.F) {
	f.Add(tlsHello(f, &tls.Config{ServerName: "api.example.com"}))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		said, state := Stream(b)
		if _, isName := said.Host.Name(); isName != (state == Named) {
			t.Errorf("%+v, %v", said, state)
		}
		if state != More { // what comes behind it changes nothing
			if again, later := Stream(append(slices.Clone(b), "more"...)); later != state || again != said {
				t.Errorf("first %+v, %v, then %+v, %v", said, state, again, later)
			}
		} else if len(b) > 2*MaxStream {
			t.Errorf("%d octets are not enough", len(b))
		}
	})
}

func FuzzQUIC(f *testing.F) {
	for _, b := range quicHello(f, "api.example.com", quic.Version1) {
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var q QUIC
		q.Add(one)
		q.initials.frames(two) // what is inside the protection, which no fuzzer finds
		said, state := q.Add(two)
		if _, isName := said.Host.Name(); isName != (state == Named) || len(q.initials.data) > maxQUIC {
			t.Errorf("%+v, %v, %d octets", said, state, len(q.initials.data))
		}
	})
}
