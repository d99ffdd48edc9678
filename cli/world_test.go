package cli_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"watertight/lab/dnstest"
)

// The names that exist in the world. They stand on 127.0.0.1.
const (
	apiName  = "api.shop.example.net"
	idnName  = "xn--mnchen-3ya.example.net"
	deadName = "dead.shop.example.net" // on an address where nothing listens
	noName   = "no-such-name.example.net"
)

// world is all that the program needs of the internet, on loopback: resolvers over TLS and HTTPS, an origin in clear
// and one over TLS, and the authority that certifies them.
type world struct {
	dir      string // holds ca.pem and watertight.yaml
	ca       *dnstest.CA
	dot, doh *dnstest.Server
	plain    string // api.shop.example.net:PORT
	secure   string // api.shop.example.net:PORT
	port     string // of plain
	dead     string // a port of 127.0.0.1 where nothing listens

	next chan struct{} // lets an origin send its next event

	mu   sync.Mutex
	seen []*http.Request // what the origins were asked, without bodies
}

// newWorld makes a world whose files are in dir, and gives a function that ends it.
func newWorld(dir string) (*world, func(), error) {
	w := &world{dir: dir, ca: dnstest.NewCA(), next: make(chan struct{})}
	loopback := netip.MustParseAddr("127.0.0.1")
	var ls []net.Listener
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		ls = append(ls, l)
	}
	// A port on which nobody listens, and which nobody else can take: it is the near end of a connection.
	held, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).Dial("tcp", ls[4].Addr().String())
	if err != nil {
		return nil, nil, err
	}
	w.dead = portOf(held.LocalAddr())
	zone := dnstest.Zone{
		apiName + ". 300 A 127.0.0.1",
		idnName + ". 300 A 127.0.0.1",
		deadName + ". 300 A 127.0.0.1",
		"www.shop.example.net. 60 CNAME " + apiName + ".",
		"v4.shop.example.net. 60 A 192.0.2.4",
		"text.shop.example.net. 60 TXT \"hello world\"",
		"ech.shop.example.net. 60 A 192.0.2.4",
		"ech.shop.example.net. 60 HTTPS 1 . alpn=h2 ech=AEX+DQBB",
		"5.0.5.11.in-addr.arpa. 60 PTR host.shop.example.net.",
		strings.Repeat(strings.Repeat("a", 49)+".", 4) + strings.Repeat("b", 41) + ".example.net. 60 A 127.0.0.1", // 253 octets
	}
	cert := w.ca.Issue([]string{"dns.example.net"}, []netip.Addr{loopback})
	w.dot = dnstest.ServeDoT(ls[0], cert, zone.Handler())
	w.doh = dnstest.ServeDoH(ls[1], cert, zone.Handler())
	origin := func(l net.Listener) *httptest.Server {
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0)}}
		return s
	}
	plain, secure := origin(ls[2]), origin(ls[3])
	plain.Start()
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.Issue([]string{apiName, idnName, "www.shop.example.net"}, nil)}}
	secure.StartTLS()
	w.port = portOf(ls[2].Addr())
	w.plain = apiName + ":" + w.port
	w.secure = apiName + ":" + portOf(ls[3].Addr())
	end := func() {
		_ = held.Close()
		_ = ls[4].Close()
		_ = w.dot.Close()
		_ = w.doh.Close()
		plain.CloseClientConnections()
		secure.CloseClientConnections()
		plain.Close()
		secure.Close()
	}
	return w, end, w.writeFiles()
}

func (w *world) writeFiles() error {
	if err := os.WriteFile(filepath.Join(w.dir, "ca.pem"), w.ca.PEM(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(w.config(), []byte(w.configText("plain_http: allow, private_targets: allow")), 0o600)
}

// configText is a configuration for this world with the given policy.
func (w *world) configText(policy string) string {
	return fmt.Sprintf(`listen: {proxy: "127.0.0.1:0"}
channels:
  direct:
    resolver:
      upstreams:
        - {url: "%s", ca: "%s"}
        - {url: "%s", ca: "%s"}
policy: {%s}
`, w.dotURL(), filepath.Join(w.dir, "ca.pem"), w.dohURL(), filepath.Join(w.dir, "ca.pem"), policy)
}

func (w *world) config() string { return filepath.Join(w.dir, "watertight.yaml") }
func (w *world) dotURL() string { return "tls://" + w.dot.Addr().String() }
func (w *world) dohURL() string { return "https://" + w.doh.Addr().String() + "/dns-query" }

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// testWorld is a world that ends with the test.
func testWorld(t testing.TB) *world {
	t.Helper()
	w, end, err := newWorld(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return w
}

// asked gives the requests that came to the origins.
func (w *world) asked() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request(nil), w.seen...)
}

// ServeHTTP is the origins: paths say what is answered.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, r)
	w.mu.Unlock()
	switch {
	case r.URL.Path == "/echo":
		body, err := io.ReadAll(r.Body)
		rw.Header().Set("Trailer", "X-End")
		fmt.Fprintf(rw, "%s, err %v, trailer %q", body, err, r.Trailer.Get("X-Sum"))
		rw.Header().Set("X-End", "reached")
	case r.URL.Path == "/refuse":
		http.Error(rw, "no body wanted", http.StatusExpectationFailed)
	case r.URL.Path == "/events":
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			select { // the next event comes only when the client has seen this one
			case <-r.Context().Done():
				return
			case <-w.next:
			}
		}
	case r.URL.Path == "/socket":
		websocketEcho(rw)
	case strings.HasPrefix(r.URL.Path, "/repo.git/"):
		http.StripPrefix("/repo.git/", http.FileServer(http.Dir(filepath.Join(w.dir, "repo.git")))).ServeHTTP(rw, r)
	default:
		fmt.Fprintf(rw, "hello from %s %s\n", r.Host, r.URL.Path)
	}
}

// websocketEcho switches protocols and sends back what comes.
func websocketEcho(rw http.ResponseWriter) {
	conn, buf, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
	_, _ = bufio.NewReader(buf).WriteTo(conn)
}
