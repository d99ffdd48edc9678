package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/gate"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/route"
)

const (
	originName = "api.example.com"
	publicName = "front.example.org"
	secret     = "Bearer sk-7f3k9q2x"
)

// limit is how long a test waits for what has to come.
const limit = 20 * time.Second

var (
	discard     = log.New(io.Discard, "", 0)
	authorities = dnstest.NewCA()
	local       = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:8088"))
	from        = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:50000"))
)

// world is a gateway with one origin, in memory.
type world struct {
	t     *testing.T
	g     *Gateway
	table *Table
	sink  *recorder
	terms Terms

	entries []Entry // of table, unless that was changed

	handler http.HandlerFunc // of the origin
	server  *http.Server
	at      *pipeListener // of the origin

	mu        sync.Mutex
	dials     []name.Target
	asks      []dnswire.Question
	answer    func(dnswire.Question) (*dnswire.Answer, error)
	dialErr   error
	dialErrOf map[string]error // by server
	hellos    []string         // server names that an onlooker reads
	ech       []bool           // whether the origin took the hello that was hidden in it
	wrap      func(net.Conn) net.Conn

	udp     netip.AddrPort // where the origin speaks HTTP/3; not valid: the channel carries no datagrams
	flows   []name.Target
	flowErr error
}

type recorder struct {
	event.Discard
	mu       sync.Mutex
	requests []event.Request
	tunnels  []event.Tunnel
}

func (r *recorder) Request(e *event.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, *e)
}

func (r *recorder) Tunnel(e *event.Tunnel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tunnels = append(r.tunnels, *e)
}

// option changes a world before it begins.
type option func(*world, *tls.Config, *Entry)

// only lets the origin speak these protocols.
func only(protocols ...string) option {
	return func(_ *world, c *tls.Config, _ *Entry) { c.NextProtos = protocols }
}

func newWorld(t *testing.T, handler http.HandlerFunc, options ...option) *world {
	t.Helper()
	w := &world{t: t, sink: &recorder{}, handler: handler, at: newPipeListener(), terms: Terms{Rules: gate.Open()}}
	config := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{authorities.Issue([]string{originName, "*.example.com", publicName}, nil)}}
	e := Entry{
		Path: "/openai/", To: name.Must(originName + ":443"), ToPath: "/", Roots: authorities.Pool(), Channel: "residential",
		Fields: []Field{{"Authorization", secret}}, Way: w,
	}
	for _, o := range options {
		o(w, config, &e)
	}
	w.server = &http.Server{
		TLSConfig: config, Protocols: new(http.Protocols), ErrorLog: discard,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			w.ech = append(w.ech, r.TLS.ECHAccepted)
			w.mu.Unlock()
			w.handler(rw, r)
		}),
	}
	for _, p := range config.NextProtos {
		w.server.Protocols.SetHTTP2(w.server.Protocols.HTTP2() || p == "h2")
		w.server.Protocols.SetHTTP1(w.server.Protocols.HTTP1() || p != "h2")
	}
	go w.server.ServeTLS(w.at, "", "")
	generic := Entry{Hosts: []route.Pattern{pattern(t, "*.example.com")}, Roots: authorities.Pool(), Channel: "listed", Way: w}
	w.entries = []Entry{e, generic}
	w.table = table(t, w.entries...)
	g, err := New(Options{Current: func() (*Table, func()) { return w.table, func() {} }, Sink: w.sink, Logger: slog.New(slog.DiscardHandler), Keeper: gate.NewKeeper()})
	if err != nil {
		t.Fatal(err)
	}
	w.g = g
	t.Cleanup(func() {
		w.g.Drain()
		w.table.Close()
		w.server.Close()
	})
	return w
}

func pattern(t *testing.T, s string) route.Pattern {
	t.Helper()
	p, err := route.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func table(t *testing.T, entries ...Entry) *Table {
	t.Helper()
	tab, err := NewTable(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// Dial is the way to the origin.
func (w *world) Dial(_ context.Context, r route.Request, at name.Target) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, at)
	err, wrap := w.dialErr, w.wrap
	if one := w.dialErrOf[at.String()]; one != nil {
		err = one
	}
	w.mu.Unlock()
	w.sink.Request(&event.Request{Door: r.Door, Client: r.Client, Identity: r.Identity, Target: r.Target, Code: codeOf(err)})
	if err != nil {
		return nil, err
	}
	conn, err := w.at.connect(from, local, nil)
	if err != nil {
		return nil, fault.New(fault.ConnectRefused, "nothing listens there", err)
	}
	conn = &overheard{Conn: conn, w: w}
	if wrap != nil {
		conn = wrap(conn)
	}
	return conn, nil
}

// DialPacket is the way to the origin for datagrams.
func (w *world) DialPacket(_ context.Context, r route.Request, at name.Target) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flows = append(w.flows, at)
	w.sink.Request(&event.Request{Door: r.Door, Client: r.Client, Identity: r.Identity, Target: r.Target, Code: codeOf(w.flowErr)})
	if w.flowErr != nil {
		return nil, w.flowErr
	}
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(w.udp))
}

func (w *world) CarriesPackets(route.Request) bool { return w.udp.IsValid() }

func codeOf(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

// Ask is the channel's resolver.
func (w *world) Ask(_ context.Context, _ route.Request, q dnswire.Question) (*dnswire.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = append(w.asks, q)
	if w.answer == nil {
		return nil, nil
	}
	return w.answer(q)
}

// overheard reads the server name in the first record that is written.
type overheard struct {
	net.Conn
	w    *world
	once sync.Once
}

func (o *overheard) Write(b []byte) (int, error) {
	o.once.Do(func() {
		host := "?"
		server := tls.Server(&said{hello: strings.NewReader(string(b))}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			host = h.ServerName
			return nil, errors.New("heard")
		}})
		_ = server.Handshake()
		o.w.mu.Lock()
		o.w.hellos = append(o.w.hellos, host)
		o.w.mu.Unlock()
	})
	return o.Conn.Write(b)
}

// said is a connection on which something was said.
type said struct {
	net.Conn
	hello io.Reader
}

func (s *said) Read(b []byte) (int, error)  { return s.hello.Read(b) }
func (s *said) Write(b []byte) (int, error) { return len(b), nil }

// dial connects a client to the gateway.
func (w *world) dial() net.Conn {
	w.t.Helper()
	conn, err := w.g.Connect(from, local, func() Terms { return w.terms })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// client gives a client of one version of HTTP.
func (w *world) client(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	tr := &http.Transport{
		Protocols: protocols, DisableCompression: true, ExpectContinueTimeout: limit,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return w.dial(), nil },
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

const base = "http://127.0.0.1:8088"

// do sends a request and reads the response.
func (w *world) do(c *http.Client, r *http.Request) (*http.Response, string) {
	w.t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(b)
}

func (w *world) request(method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, base+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) get(path string) (*http.Response, string) {
	w.t.Helper()
	return w.do(w.client(false), w.request("GET", path, nil))
}

// refusal wants a refusal with a code.
func (w *world) refusal(resp *http.Response, body string, code fault.Code) {
	w.t.Helper()
	var got struct{ Error, Message, Hint string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Error != string(code) || got.Hint == "" || resp.StatusCode != code.HTTPStatus() {
		w.t.Errorf("%s %q (%v), want %s", resp.Status, body, err, code)
	}
	if s := resp.Header.Get("Proxy-Status"); !strings.HasPrefix(s, "watertight; error="+code.ProxyError()) {
		w.t.Errorf("Proxy-Status: %s", s)
	}
	if resp.ProtoMajor == 1 && !strings.HasSuffix(resp.Status, "("+string(code)+")") {
		w.t.Errorf("the status line is %q", resp.Status)
	}
	if strings.Contains(body+resp.Status, secret) {
		w.t.Error("the secret is shown")
	}
}

func (w *world) dialled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dials)
}

// raw writes a request as it is, and reads the head of what comes back.
func (w *world) raw(text string) (net.Conn, *bufio.Reader, *http.Response) {
	w.t.Helper()
	conn := w.dial()
	go io.WriteString(conn, text)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return conn, r, resp
}
