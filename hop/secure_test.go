package hop

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/clock"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/name"
)

// overTLS serves behind TLS, and says what it saw of each handshake.
func (p *pki) overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(raw net.Conn) {
		conn := tls.Server(raw, config)
		err := conn.Handshake()
		p.mu.Lock()
		p.states, p.errs = append(p.states, conn.ConnectionState()), append(p.errs, err)
		p.mu.Unlock()
		if err != nil {
			return
		}
		serve(conn)
		_ = conn.CloseWrite()
	}
}

// pki is an authority, its files, and what the servers with its certificates saw.
type pki struct {
	*dnstest.CA
	dir string

	mu     sync.Mutex
	states []tls.ConnectionState
	errs   []error
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{CA: dnstest.NewCA(), dir: t.TempDir()}
	p.write(t, "ca.pem", p.PEM())
	return p
}

func (p *pki) write(t *testing.T, file string, text []byte) string {
	t.Helper()
	path := filepath.Join(p.dir, file)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *pki) serverConfig(names ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.Issue(names, []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")})}}
}

// proxy builds a proxy that has to prove itself to the authority.
func (p *pki) proxy(t *testing.T, s Spec) Proxy {
	t.Helper()
	if strings.Contains(s.URL, "+tls://") || strings.HasPrefix(s.URL, "https://") || strings.HasPrefix(s.URL, "h2://") {
		s.CA = filepath.Join(p.dir, "ca.pem")
	}
	proxy, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return proxy
}

func (p *pki) proxies(t *testing.T, urls ...string) (chain []Proxy) {
	for _, u := range urls {
		chain = append(chain, p.proxy(t, Spec{URL: u}))
	}
	return chain
}

func TestThroughProxiesOfAnyKindTheLastOneGetsTheTargetAsItIs(t *testing.T) {
	p := newPKI(t)
	for _, proxies := range [][]string{
		{"socks4a://gw.example"},
		{"socks4a://jo@gw.example"},
		{"https://u:p@gw.example"},
		{"socks5+tls://u:p@gw.example:1443"},
		{"https://gw.example", "https://192.0.2.2"},
		{"https://gw.example", "socks5+tls://192.0.2.2:1443", "socks4a://192.0.2.3"},
		{"socks4a://gw.example", "https://192.0.2.2"},
		{"https://[2001:db8::2]", "http://192.0.2.2:3128"},
	} {
		for _, target := range []string{"api.example.com:443", "192.0.2.7:443", "[2001:db8::7]:443"} {
			if strings.HasPrefix(target, "[") && strings.HasPrefix(proxies[len(proxies)-1], "socks4a") {
				continue
			}
			t.Run(strings.Join(proxies, ",")+"/"+target, func(t *testing.T) {
				m := &memory{buffers: true}
				m.at = map[string]func(net.Conn){
					"gw.example:1080": m.socksProxy, "192.0.2.3:1080": m.socksProxy, "192.0.2.2:3128": m.httpProxy,
					"gw.example:443": p.overTLS(p.serverConfig("gw.example"), m.httpProxy), "gw.example:1443": p.overTLS(p.serverConfig("gw.example"), m.socksProxy),
					"192.0.2.2:443": p.overTLS(p.serverConfig(), m.httpProxy), "192.0.2.2:1443": p.overTLS(p.serverConfig(), m.socksProxy),
					"[2001:db8::2]:443": p.overTLS(p.serverConfig(), m.httpProxy),
					target:              echo,
				}
				chain, err := Chain(under(m, noLookup), p.proxies(t, proxies...))
				if err != nil {
					t.Fatal(err)
				}
				conn, err := chain.Dial(t.Context(), name.Must(target))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				hears(t, conn, "through the tunnel")
				if dialed := m.targets(); dialed[len(dialed)-1] != target || len(dialed) != len(proxies)+1 {
					t.Errorf("dialled %v", dialed)
				}
			})
		}
	}
}

func TestAProxyThatDoesNotProveWhoItIsIsToldNothing(t *testing.T) {
	p := newPKI(t)
	other := dnstest.NewCA()
	day := time.Now()
	leaf := func(l dnstest.Leaf) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{p.IssueLeaf(l)}}
	}
	old := p.serverConfig("gw.example")
	old.MaxVersion = tls.VersionTLS12
	asks := p.serverConfig("gw.example")
	asks.ClientAuth, asks.ClientCAs = tls.RequireAndVerifyClientCert, p.Pool()
	only2 := p.serverConfig("gw.example")
	only2.NextProtos = []string{"imap"}
	for title, tt := range map[string]struct {
		server func(net.Conn) // of TLS
		config *tls.Config
		spec   Spec
		code   fault.Code
		says   string
	}{
		"another name":           {config: p.serverConfig("other.example"), says: "its certificate does not cover gw.example"},
		"an unknown authority":   {config: &tls.Config{Certificates: []tls.Certificate{other.Issue([]string{"gw.example"}, nil)}}, says: "from an unknown authority"},
		"expired":                {config: leaf(dnstest.Leaf{Names: []string{"gw.example"}, NotAfter: day.Add(-time.Hour)}), says: "expired or not valid yet"},
		"not valid yet":          {config: leaf(dnstest.Leaf{Names: []string{"gw.example"}, NotBefore: day.Add(time.Hour)}), says: "expired or not valid yet"},
		"another key":            {config: p.serverConfig("gw.example"), spec: Spec{Pins: []string{other.Pin()}}, says: "none of its keys is pinned"},
		"another name in `name`": {config: p.serverConfig("gw.example"), spec: Spec{Name: "front.example"}, says: "does not cover front.example"},
		"TLS 1.2":                {config: old, says: "does not speak TLS 1.3"},
		"it asks who we are":     {config: asks, code: fault.HopAuth, says: "asks for a certificate"},
		"no TLS":                 {server: says("HTTP/1.1 400 Bad Request\r\n\r\n"), says: "does not speak TLS on that port"},
		"it hangs up":            {server: func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }, says: "closed the connection"},
		"another protocol":       {config: only2, says: "does not speak the protocol of https:// over TLS"},
		"silence":                {server: silent, says: "accepts connections but does not answer"},
	} {
		for _, scheme := range []string{SchemeHTTPS, SchemeSOCKS5TLS} {
			if title == "another protocol" && scheme != SchemeHTTPS {
				continue
			}
			t.Run(title+"/"+scheme, func(t *testing.T) {
				spec := tt.spec
				spec.URL = scheme + "://user:hunter2@gw.example:443"
				proxy := p.proxy(t, spec)
				var told []byte
				serve := tt.server
				if serve == nil {
					serve = p.overTLS(tt.config, func(conn net.Conn) { told, _ = io.ReadAll(conn) })
				}
				m := &memory{buffers: true, at: map[string]func(net.Conn){"gw.example:443": serve}}
				chain, err := Chain(under(m, noLookup), []Proxy{proxy})
				if err != nil {
					t.Fatal(err)
				}
				dial := func(t *testing.T) {
					conn, err := chain.Dial(t.Context(), name.Must("secret-name.example:443"))
					if err == nil {
						conn.Close()
						t.Fatal("it was dialled")
					}
					code := tt.code
					if code == "" {
						code = fault.HopRefused
					}
					f := fault.Of(err)
					if f.Code != code || !strings.Contains(f.Message, "the proxy gw.example:443") || !strings.Contains(f.Message, tt.says) {
						t.Errorf("got %v", f)
					}
					if strings.Contains(f.Error()+f.NextStep(), "hunter2") || strings.Contains(f.Message, "secret-name") {
						t.Errorf("%v tells too much", f)
					}
				}
				if title == "silence" {
					synctest.Test(t, dial)
				} else {
					dial(t)
				}
				if len(told) > 0 && title != "it asks who we are" {
					t.Errorf("it was told %q", told)
				}
			})
		}
	}
}

func TestAProxyIsShownTheCertificateThatItAsksFor(t *testing.T) {
	p := newPKI(t)
	asks := p.serverConfig("gw.example")
	asks.ClientAuth, asks.ClientCAs = tls.RequireAndVerifyClientCert, p.Pool()
	m := &memory{buffers: true}
	m.at = map[string]func(net.Conn){"gw.example:443": p.overTLS(asks, m.httpProxy), "a.example:443": echo}
	for title, ca := range map[string]*dnstest.CA{"one that it takes": p.CA, "one that it does not take": dnstest.NewCA()} {
		cert, key := dnstest.PEMPair(ca.IssueLeaf(dnstest.Leaf{Names: []string{"me"}, Client: true}))
		proxy := p.proxy(t, Spec{URL: "https://gw.example", Cert: p.write(t, "cert.pem", cert), Key: p.write(t, "key.pem", key)})
		chain, err := Chain(under(m, noLookup), []Proxy{proxy})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
		if ca == p.CA {
			if err != nil {
				t.Fatalf("%s: %v", title, err)
			}
			hears(t, conn, "through")
			conn.Close()
			continue
		}
		if f := fault.Of(err); f.Code != fault.HopAuth || !strings.Contains(f.Message, "did not take the certificate") {
			t.Errorf("%s: %v", title, err)
		}
	}
}

func TestTLSSessionsStayInTheirChainAndArePinnedToo(t *testing.T) {
	p := newPKI(t)
	config := p.serverConfig("gw.example")
	m := &memory{buffers: true}
	m.at = map[string]func(net.Conn){"gw.example:443": p.overTLS(config, m.httpProxy), "a.example:443": echo}
	proxy := p.proxy(t, Spec{URL: "https://gw.example", Pins: []string{p.Pin()}})
	dial := func(c *Chained) error {
		conn, err := c.Dial(t.Context(), name.Must("a.example:443"))
		if err == nil {
			hears(t, conn, "x") // reads the ticket too
			conn.Close()
		}
		return err
	}
	var chains [2]*Chained
	for i := range chains {
		var err error
		if chains[i], err = Chain(under(m, noLookup), []Proxy{proxy}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*Chained{chains[0], chains[0], chains[1]} {
		if err := dial(c); err != nil {
			t.Fatal(err)
		}
	}
	if p.states[0].DidResume || !p.states[1].DidResume || p.states[2].DidResume {
		t.Errorf("resumed: %v, %v by the same chain, %v by another", p.states[0].DidResume, p.states[1].DidResume, p.states[2].DidResume)
	}
	chains[0].links[0].trusted.Forget()
	if err := dial(chains[0]); err != nil || p.states[3].DidResume {
		t.Errorf("after forgetting, a session was resumed: %v, %v", p.states[3].DidResume, err)
	}
}

func TestByAClockThatIsBehindNoProxyProvesWhoItIs(t *testing.T) {
	p := newPKI(t)
	m := &memory{buffers: true}
	m.at = map[string]func(net.Conn){"gw.example:443": p.overTLS(p.serverConfig("gw.example"), m.httpProxy), "a.example:443": echo}
	u := under(m, noLookup)
	u.Floor = clock.NewFloor(time.Now().AddDate(1, 0, 0), "set the clock")
	chain, err := Chain(u, p.proxies(t, "https://gw.example"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Dial(t.Context(), name.Must("a.example:443"))
	if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the clock says") || f.NextStep() != "set the clock" {
		t.Errorf("got %v", err)
	}
}

func TestTheEndOfOneWayPassesThroughTLS(t *testing.T) {
	p := newPKI(t)
	m := &memory{buffers: true}
	heard := make(chan string, 1)
	m.at = map[string]func(net.Conn){"gw.example:443": p.overTLS(p.serverConfig("gw.example"), func(conn net.Conn) {
		readHead(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		all, _ := io.ReadAll(conn)
		heard <- string(all)
		_, _ = io.WriteString(conn, "and back")
	})}
	chain, err := Chain(under(m, noLookup), p.proxies(t, "https://gw.example"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "all there is")
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "all there is" {
		t.Errorf("the far side heard %q", got)
	}
	if back, err := io.ReadAll(conn); string(back) != "and back" || err != nil {
		t.Errorf("back came %q, %v", back, err)
	}
}

func TestAnIPv6AddressIsNotForSOCKS4aAndNothingIsDialledForIt(t *testing.T) {
	m := &memory{at: map[string]func(net.Conn){"gw.example:1080": silent}}
	chain, err := Chain(under(m, noLookup), mustProxies(t, "socks4a://gw.example"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Dial(t.Context(), name.Must("[2001:db8::7]:443"))
	f := fault.Of(err)
	if f.Code != fault.HopRefused || !strings.Contains(f.Message, "gw.example:1080") || !strings.Contains(f.Message, "IPv6") {
		t.Errorf("got %v", err)
	}
	if len(m.targets()) > 0 {
		t.Errorf("dialled %v", m.targets())
	}
}

func TestBehindSOCKS4aALaterProxyIsReachedByItsIPv4AddressesAlone(t *testing.T) {
	m := &memory{buffers: true}
	m.at = map[string]func(net.Conn){"first.example:1080": m.socksProxy, "198.51.100.9:3128": m.httpProxy, "a.example:443": echo}
	found := []netip.Addr{netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("198.51.100.9")}
	lookup := func(context.Context, string) ([]netip.Addr, error) { return found, nil }
	chain, err := Chain(under(m, lookup), mustProxies(t, "socks4a://first.example", "http://second.example:3128"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
	if err != nil {
		t.Fatal(err)
	}
	hears(t, conn, "through")
	conn.Close()
	if dialed := strings.Join(m.targets(), " "); dialed != "first.example:1080 198.51.100.9:3128 a.example:443" {
		t.Errorf("dialled %s", dialed)
	}
	found = found[:1]
	if _, err := chain.Dial(t.Context(), name.Must("a.example:443")); fault.Of(err).Code != fault.HopRefused || !strings.Contains(err.Error(), "second.example") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsWrongWithASOCKS4aProxyIsSaid(t *testing.T) {
	checkFaults(t, "socks4a://hunter2@gw.example:1080", []wrong{
		{"nobody there", nil, fault.HopRefused, "refused the connection"},
		{"silence", silent, fault.ConnectTimeout, "did not connect in time"},
		{"it hangs up", func(conn net.Conn) { _, _ = conn.Read(make([]byte, 99)) }, fault.HopRefused, "closed the connection"},
		{"rejected", says("\x00\x5b\x00\x00\x00\x00\x00\x00"), fault.ConnectUnreachable, "does not say which"},
		{"ident", says("\x00\x5d\x00\x00\x00\x00\x00\x00"), fault.HopAuth, "ident"},
		{"HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), fault.HopRefused, "does not answer as a SOCKS4a proxy should"},
		{"SOCKS5", says("\x05\xff"), fault.HopRefused, "does not answer as a SOCKS4a proxy should"},
	})
}
