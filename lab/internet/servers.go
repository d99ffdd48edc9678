package internet

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// Ports of the servers here.
const (
	portHTTP  = 80
	portHTTPS = 443
	portDoT   = 853
)

// Resolver is an encrypted resolver of our own: DNS over TLS and over HTTPS on one host. It asks the authority in
// plaintext, as resolvers do.
type Resolver struct {
	*Host
	DoT, DoH *dnstest.Server
	Name     string // in its certificate, besides its addresses
}

// AddResolver connects a resolver. Its certificate is for name and for the addresses of its host.
func (in *Internet) AddResolver(name string, extra ...netip.Addr) (*Resolver, error) {
	h, err := in.AddHost(name, extra...)
	if err != nil {
		return nil, err
	}
	return in.ResolverOn(h, name, in.CA.Issue([]string{name}, h.Addrs()))
}

// ResolverOn puts a resolver on a host, with a certificate that may be anything.
func (in *Internet) ResolverOn(h *Host, name string, cert tls.Certificate, tweak ...func(*tls.Config)) (*Resolver, error) {
	dot, err := h.Listen(portDoT)
	if err != nil {
		return nil, err
	}
	doh, err := h.Listen(portHTTPS)
	if err != nil {
		return nil, err
	}
	r := &Resolver{Host: h, Name: name}
	r.DoT = dnstest.ServeDoT(dot, cert, r.Recurse, tweak...)
	r.DoH = dnstest.ServeDoH(doh, cert, r.Recurse, tweak...)
	in.Cleanup(func() {
		_ = r.DoT.Close()
		_ = r.DoH.Close()
	})
	return r, nil
}

// Recurse is the handler of a resolver that does its work.
func (r *Resolver) Recurse(_ context.Context, q *dnstest.Query) dnstest.Reply {
	if q.Name == "" && q.Type == dnswire.NS { // the root's servers are known to every resolver
		return q.Send(dnswire.Reply{Answer: []dnswire.Record{rootNS}})
	}
	b, err := r.Ask(r.in.Authority.At(dnsPort), q.Raw)
	if err != nil {
		return q.Send(dnswire.Reply{RCode: dnswire.ServFail})
	}
	return dnstest.Reply{Wire: b}
}

var rootNS = func() dnswire.Record {
	r, err := dnswire.ParseRecord(". 3600 NS a.root-servers.net.")
	if err != nil {
		panic(err)
	}
	return r
}()

// Handle replaces what both transports do about a query.
func (r *Resolver) Handle(h dnstest.Handler) {
	r.DoT.Handle(h)
	r.DoH.Handle(h)
}

// Peers gives the resolver as someone with whom packets may be exchanged, over both transports.
func (r *Resolver) Peers() []capture.Peer {
	return append(r.Host.Peers(capture.TCP, portDoT), r.Host.Peers(capture.TCP, portHTTPS)...)
}

// DoTURL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoTURL() string { return fmt.Sprintf("tls://%s", hostText(r.Addr())) }

// DoHURL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoHURL() string { return fmt.Sprintf("https://%s/dns-query", hostText(r.Addr())) }

func hostText(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// Visit is a request that an origin received.
type Visit struct {
	Time   time.Time
	Client netip.AddrPort
	TLS    bool
	Host   string
	Path   string
}

// Origin is an API server: HTTPS and HTTP on one host, under as many names as were published for it.
type Origin struct {
	*Host

	mu     sync.Mutex
	visits []Visit
}

// Greeting is how every answer of an origin begins.
const Greeting = "hello from "

// AddOrigin connects an origin and publishes its names. A name may be a wildcard such as "*.probe.example.net".
func (in *Internet) AddOrigin(host string, names ...string) (*Origin, error) {
	h, err := in.AddHost(host)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := in.Authority.Publish(name, h); err != nil {
			return nil, err
		}
	}
	return in.OriginOn(h, in.CA.Issue(names, h.Addrs()))
}

// OriginOn puts an origin on a host, with a certificate that may be anything.
func (in *Internet) OriginOn(h *Host, cert tls.Certificate, tweak ...func(*tls.Config)) (*Origin, error) {
	o := &Origin{Host: h}
	plain, err := h.Listen(portHTTP)
	if err != nil {
		return nil, err
	}
	secure, err := h.Listen(portHTTPS)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	for _, f := range tweak {
		f(config)
	}
	server := &http.Server{
		Handler: o, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // a client that hangs up is no news
	}
	in.wg.Go(func() { _ = server.Serve(plain) })
	in.wg.Go(func() { _ = server.ServeTLS(secure, "", "") })
	in.Cleanup(func() { _ = server.Close() })
	return o, nil
}

// ServeHTTP writes the visit down and greets.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, _ := netip.ParseAddrPort(r.RemoteAddr)
	o.mu.Lock()
	o.visits = append(o.visits, Visit{time.Now(), unmap(client), r.TLS != nil, r.Host, r.URL.Path})
	o.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s%s\n", Greeting, r.Host)
}

// Visits gives every request so far, oldest first.
func (o *Origin) Visits() []Visit {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Visit(nil), o.visits...)
}

// Peers gives the origin as someone with whom packets may be exchanged, over HTTPS.
func (o *Origin) Peers() []capture.Peer { return o.Host.Peers(capture.TCP, portHTTPS) }
