package internet

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"watertight/capture"
)

// Ports of an origin.
const (
	portHTTP  = 80
	portHTTPS = 443
)

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
