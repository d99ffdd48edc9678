package mixed

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/gate"
)

// where answers with the address of its client and the octets read ahead.
type where struct{}

func (where) ServeConn(_ context.Context, g *gate.Guest, head []byte) {
	defer g.Conn.Close()
	io.WriteString(g.Conn, g.Client.String()+" "+string(head))
}

func serveBehind(t *testing.T, config *tls.Config, balancers ...string) *port {
	t.Helper()
	w := &Way{Rules: gate.Open(), TLS: config}
	for _, b := range balancers {
		w.Balancers = append(w.Balancers, netip.MustParsePrefix(b))
	}
	return serveWay(t, Options{FirstOctet: 5 * time.Second, Handlers: Handlers{HTTP: where{}, SOCKS4: where{}, SOCKS5: where{}, HTTP2: where{}}}, w)
}

const (
	line   = "PROXY TCP4 192.0.2.1 198.51.100.1 4242 443\r\n"
	binary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\x10\x92\x01\xbb"
)

func TestABalancerThatIsListedSaysWhereAClientIs(t *testing.T) {
	p := serveBehind(t, nil, "10.0.0.0/8", "127.0.0.0/8")
	for _, header := range []string{line, binary} {
		for cut := range len(header) + 1 {
			if cut%9 != 0 && cut != len(header) { // the header may come in any pieces
				continue
			}
			c := p.dial(t)
			io.WriteString(c, header[:cut])
			io.WriteString(c, header[cut:]+"GET")
			if got, _ := io.ReadAll(c); string(got) != "192.0.2.1:4242 GET" {
				t.Errorf("cut after %d: %q", cut, got)
			}
		}
	}
	for _, own := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		if got := p.say(t, own+"GET"); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, " GET") {
			t.Errorf("of the balancer itself: %q", got)
		}
	}
}

func TestABalancerThatSaysNothingIsNotServed(t *testing.T) {
	p := serveBehind(t, nil, "127.0.0.1/32")
	for _, text := range []string{"GET / HTTP/1.1\r\n", "\x05\x01\x00", "PROXY TCP4 x\r\n", "\x16\x03\x01", line[:20], line, line + line} {
		c := p.dial(t)
		io.WriteString(c, text)
		c.CloseWrite()
		got, _ := io.ReadAll(c)
		want := ""
		if text == line+line { // the second is the client's, and what it makes of it is the handler's affair
			want = "192.0.2.1:4242 " + line
		}
		if string(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestFromOthersTheHeaderIsRubbish(t *testing.T) {
	p := serveBehind(t, nil, "192.0.2.0/24")
	if got := p.say(t, line+"GET"); strings.HasPrefix(got, "192.0.2.1") {
		t.Errorf("a client says where it is: %q", got)
	}
	if got := p.say(t, binary+"GET"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestBehindABalancerThereIsTLSAsWell(t *testing.T) {
	ca := newIssuer(t)
	p := serveBehind(t, gate.ServerTLS(ca.issue("", "proxy.example"), nil), "127.0.0.1/32")
	c := p.dial(t)
	io.WriteString(c, binary)
	secure := tls.Client(net.Conn(c), &tls.Config{RootCAs: ca.pool, ServerName: "proxy.example"})
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(secure, "GET")
	if got, _ := io.ReadAll(secure); string(got) != "192.0.2.1:4242 GET" {
		t.Errorf("%q", got)
	}
}
