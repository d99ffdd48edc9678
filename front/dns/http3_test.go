package dns

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/wire"
)

// doh3 serves DNS over HTTPS with HTTP/3.
func doh3(t testing.TB, d *Door, source Credentials) (l *net.TCPListener, socket *net.UDPConn, stop func()) {
	t.Helper()
	l = listenTCP(t)
	socket, err := wire.ListenUDP(l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	return l, socket, run(t, func(ctx ctx) error { return d.ServeHTTPS(ctx, l, socket, source) })
}

// h3Client gives a client of HTTP/3 that connects to one socket.
func h3Client(t testing.TB, socket *net.UDPConn, config *tls.Config) *http.Client {
	t.Helper()
	from := quicClient(t, "127.0.0.1")
	transport := &http3.Transport{
		TLSClientConfig: config,
		Dial: func(ctx context.Context, _ string, config *tls.Config, how *quic.Config) (*quic.Conn, error) {
			return from.Dial(ctx, socket.LocalAddr(), config, how)
		},
	}
	t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport}
}

const h3URL = "https://" + serverName + "/dns-query"

func TestQueriesAreAnsweredOverHTTP3(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	_, socket, stop := doh3(t, d, id.server())
	client := h3Client(t, socket, id.client())
	q := query(t, "www.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_PADDING{}))
	for _, how := range []string{http.MethodGet, http.MethodPost} {
		at, media, body := h3URL, mediaType, q
		if how == http.MethodGet {
			at, media, body = h3URL+"?dns="+base64.RawURLEncoding.EncodeToString(q), "", nil
		}
		resp, b := do(t, client, how, at, media, body)
		if resp.StatusCode != 200 || resp.ProtoMajor != 3 || resp.Header.Get("Content-Type") != mediaType || len(b) != 468 {
			t.Fatalf("%s: %s %s, %v, %d octets", how, resp.Proto, resp.Status, resp.Header, len(b))
		}
		if m := read(t, b); len(m.Answer) != 1 || m.Id != 4711 {
			t.Errorf("%s: %v", how, m)
		}
		if age := resp.Header.Get("Cache-Control"); !strings.HasPrefix(age, "max-age=") || resp.Header.Get("Alt-Svc") != "" {
			t.Errorf("%s: %v", how, resp.Header)
		}
	}
	for _, c := range []struct {
		method, url, media string
		body               []byte
		want               int
	}{
		{http.MethodGet, "https://" + serverName + "/", "", nil, 404},
		{http.MethodGet, h3URL, "", nil, 400},
		{http.MethodPost, h3URL, "application/json", q, 415},
		{http.MethodPost, h3URL, mediaType, make([]byte, 70000), 413},
		{http.MethodPut, h3URL, mediaType, q, 405},
	} {
		if resp, _ := do(t, client, c.method, c.url, c.media, c.body); resp.StatusCode != c.want {
			t.Errorf("%s %s (%s, %d octets): %s", c.method, c.url, c.media, len(c.body), resp.Status)
		}
	}
	client.CloseIdleConnections()
	stop()
	if s := d.Stats(); s.Queries["h3"] != 2 || s.Connections != 0 || s.CutOff != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHTTP3IsAnnouncedOverTCPAtItsPort(t *testing.T) {
	id := newIdentity(t)
	l, socket, _ := doh3(t, newDoor(t, Options{}), id.server())
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return wire.DialTCP(ctx, l.Addr().(*net.TCPAddr).AddrPort())
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: id.client(), Protocols: protocols}}
	defer client.CloseIdleConnections()
	resp, _ := do(t, client, http.MethodPost, h3URL, mediaType, query(t, "www.example.", miekg.TypeA, nil))
	_, port, _ := net.SplitHostPort(socket.LocalAddr().String())
	if got := resp.Header.Get("Alt-Svc"); got != `h3=":`+port+`"; ma=86400` || resp.StatusCode != 200 {
		t.Errorf("%s: %q", resp.Status, got)
	}
}

func TestADoorThatIsToldToEndAnswersWhatItHasBegunOverHTTP3(t *testing.T) {
	id := newIdentity(t)
	z := &zone{hold: make(chan struct{}), asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z, Drain: 20 * time.Second})
	_, socket, stop := doh3(t, d, id.server())
	client := h3Client(t, socket, id.client())
	ended := make(chan struct{})
	go func() {
		<-z.asked
		go func() { stop(); close(ended) }()
		waitFor(t, func() bool { return d.Stats().Connections == 1 })
		close(z.hold)
	}()
	resp, b := do(t, client, http.MethodPost, h3URL, mediaType, query(t, "slow.example.", miekg.TypeA, nil))
	if resp.StatusCode != 200 || read(t, b).Rcode != miekg.RcodeSuccess {
		t.Errorf("%s: %x", resp.Status, b)
	}
	<-ended
	if s := d.Stats(); s.Waiting != 0 || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
}

// everywhere asks over each encrypted transport with a client's certificates, by a connection of its own, and gives which
// transports answer.
func everywhere(t *testing.T, d *Door, source Credentials, config *tls.Config) map[Proto]bool {
	t.Helper()
	answered := map[Proto]bool{}
	with := func(alpn ...string) *tls.Config {
		c := config.Clone()
		c.NextProtos = alpn
		return c
	}
	l, _ := dot(t, d, source)
	c := tls.Client(dialTCP(t, l), with("dot"))
	_, _ = c.Write(framed(query(t, "www.example.", miekg.TypeA, nil)))
	_, err := readFrame(c)
	answered[TLS] = err == nil

	quicSocket, _ := doq(t, d, source)
	if conn, err := connect(t, quicSocket, with("doq"), nil); err == nil {
		if stream, err := conn.OpenStreamSync(within(t)); err == nil {
			_, _ = stream.Write(framed(quicQuery(t, "www.example.")))
			_ = stream.Close()
			_, err := readFrame(stream)
			answered[QUIC] = err == nil
		}
	}

	tcp, udp, _ := doh3(t, d, source)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return wire.DialTCP(ctx, tcp.Addr().(*net.TCPAddr).AddrPort())
	}
	over := map[Proto]*http.Client{
		HTTP3: h3Client(t, udp, with()),
		HTTPS: {Transport: &http.Transport{DialContext: dial, TLSClientConfig: with(), DisableKeepAlives: true}},
	}
	for p, client := range over {
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, h3URL+"?dns="+base64.RawURLEncoding.EncodeToString(query(t, "www.example.", miekg.TypeA, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		answered[p] = err == nil && resp.StatusCode == 200
	}
	return answered
}

func TestWhereCertificatesAreDemandedTheyAndNotTheAddressSayWhoIsServed(t *testing.T) {
	id, known, unknown := newIdentity(t), newIdentity(t), newIdentity(t)
	config := id.server()().Clone()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, known.pool
	source := func() *tls.Config { return config }
	nobody := Options{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		want         bool
	}{
		"one that was issued":       {[]tls.Certificate{known.cert}, true},
		"none":                      {nil, false},
		"one of somebody else":      {[]tls.Certificate{unknown.cert}, false},
		"the one that the door has": {[]tls.Certificate{id.cert}, false},
	} {
		d := newDoor(t, nobody)
		client := id.client()
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(c.certificates) == 0 {
				return new(tls.Certificate), nil
			}
			return &c.certificates[0], nil
		}
		answered := everywhere(t, d, source, client)
		for _, p := range []Proto{TLS, HTTPS, HTTP3, QUIC} {
			if answered[p] != c.want {
				t.Errorf("%s: answered over %v: %v", name, p, answered[p])
			}
		}
		if s := d.Stats(); !c.want && (s.Queries["tls"]+s.Queries["https"]+s.Queries["h3"]+s.Queries["quic"] != 0 || s.Strangers != 0) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestASessionIsNotResumedUnderAnotherAuthorityForClients(t *testing.T) {
	id, old, fresh := newIdentity(t), newIdentity(t), newIdentity(t)
	demand := func(who identity) *tls.Config {
		c := id.server()().Clone()
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, who.pool
		return c
	}
	var now atomic.Pointer[tls.Config]
	now.Store(demand(old))
	d := newDoor(t, Options{})
	l, _ := dot(t, d, now.Load)
	socket, _ := doq(t, d, now.Load)
	config := id.client("dot")
	config.Certificates = []tls.Certificate{old.cert}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	overQUIC := config.Clone()
	overQUIC.NextProtos, overQUIC.ClientSessionCache = []string{"doq"}, tls.NewLRUClientSessionCache(1)
	visits := map[string]func() (resumed, answered bool){
		"TLS": func() (resumed, answered bool) {
			c := tls.Client(dialTCP(t, l), config)
			defer c.Close()
			_, _ = c.Write(framed(query(t, "www.example.", miekg.TypeA, nil)))
			_, err := readFrame(c)
			return c.ConnectionState().DidResume, err == nil
		},
		"QUIC": func() (resumed, answered bool) {
			conn, err := connect(t, socket, overQUIC, nil)
			if err != nil {
				return false, false
			}
			stream, err := conn.OpenStreamSync(within(t))
			if err != nil {
				return false, false
			}
			_, _ = stream.Write(framed(quicQuery(t, "www.example.")))
			_ = stream.Close()
			_, err = readFrame(stream)
			return conn.ConnectionState().TLS.DidResume, err == nil
		},
	}
	for name, visit := range visits {
		now.Store(demand(old))
		visit()
		if resumed, answered := visit(); !resumed || !answered {
			t.Errorf("%s: under the same authority: resumed: %v, answered: %v", name, resumed, answered)
		}
		now.Store(demand(fresh))
		if resumed, answered := visit(); resumed || answered {
			t.Errorf("%s: under another authority: resumed: %v, answered: %v", name, resumed, answered)
		}
	}
}

func TestTheKeyOfTicketsIsAnotherEveryDay(t *testing.T) {
	config := newIdentity(t).server()
	c := &credentials{source: config}
	today, _ := c.current()
	if again, _ := c.current(); again != today {
		t.Error("a key is made for one handshake")
	}
	c.last.Load().made = time.Now().Add(-keyAge)
	yesterday := c.last.Load().key
	tomorrow, _ := c.current()
	if tomorrow == today || c.last.Load().key == yesterday {
		t.Error("the key stays the same for more than a day")
	}
}
