package internet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// portDoT is that of DNS over TLS, and of DNS over QUIC.
const portDoT = 853

// Resolver is an encrypted resolver of our own: every transport on one host. It asks the authority in plaintext, as
// resolvers do.
type Resolver struct {
	*Host
	DoT, DoH, DoQ, DoH3, Crypt *dnstest.Server
	Provider                   *dnstest.Provider // who signs for Crypt
	Relays                     *Relays           // nil until they are added
	Name                       string            // in its certificate, besides its addresses

	mu      sync.Mutex
	handler dnstest.Handler // of what is served from now on
}

// AddResolver connects a resolver. Its certificate is for name and for the addresses of its host.
func (in *Internet) AddResolver(name string, extra ...netip.Addr) (*Resolver, error) {
	h, err := in.AddHost(name, extra...)
	if err != nil {
		return nil, err
	}
	return in.ResolverOn(h, name, in.CA.Issue([]string{name}, h.Addrs()))
}

// ResolverOn puts a resolver on a host, with a certificate that may be anything. Where it fails it leaves nothing.
func (in *Internet) ResolverOn(h *Host, name string, cert tls.Certificate, tweak ...func(*tls.Config)) (*Resolver, error) {
	r := &Resolver{Host: h, Name: name}
	r.handler = r.Recurse
	if err := r.serve(cert, tweak...); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	in.Cleanup(func() { _ = r.Close() })
	return r, nil
}

func (r *Resolver) serve(cert tls.Certificate, tweak ...func(*tls.Config)) error {
	dot, err := r.Listen(portDoT)
	if err != nil {
		return err
	}
	r.DoT = dnstest.ServeDoT(dot, cert, r.Recurse, tweak...)
	doh, err := r.Listen(portHTTPS)
	if err != nil {
		return err
	}
	r.DoH = dnstest.ServeDoH(doh, cert, r.Recurse, tweak...)
	doq, err := r.ListenUDP(portDoT)
	if err != nil {
		return err
	}
	r.DoQ = dnstest.ServeDoQ(doq, cert, r.Recurse, tweak...)
	doh3, err := r.ListenUDP(portHTTPS)
	if err != nil {
		return err
	}
	r.DoH3 = dnstest.ServeDoH3(doh3, cert, r.Recurse, tweak...)
	if err := r.crypt(); err != nil {
		return err
	}
	r.in.mu.Lock()
	relays := r.in.relays[r.Host]
	r.in.mu.Unlock()
	if relays != nil {
		return r.relay(relays, cert, tweak...)
	}
	return nil
}

// servers gives those that there are.
func (r *Resolver) servers() []*dnstest.Server {
	var all []*dnstest.Server
	served := []*dnstest.Server{r.DoT, r.DoH, r.DoQ, r.DoH3, r.Crypt}
	if r.Relays != nil {
		served = append(served, r.Relays.ODoH)
	}
	for _, s := range served {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// Recurse is the handler of a resolver that does its work.
func (r *Resolver) Recurse(_ context.Context, q *dnstest.Query) dnstest.Reply {
	if q.Name == "" && q.Type == dnswire.NS { // the root's servers are known to every resolver
		return q.Send(dnswire.Reply{Answer: []dnswire.Record{rootNS}})
	}
	b, err := r.Ask(r.in.Authority.serverOf(q.Raw), q.Raw)
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

// Handle replaces what every transport does about a query.
func (r *Resolver) Handle(h dnstest.Handler) {
	r.mu.Lock()
	r.handler = h
	r.mu.Unlock()
	for _, s := range r.servers() {
		s.Handle(h)
	}
}

// Log gives every query so far: those of a transport together, in the order of arrival.
func (r *Resolver) Log() []dnstest.Query {
	var all []dnstest.Query
	for _, s := range r.servers() {
		all = append(all, s.Log()...)
	}
	return all
}

// Count says how often a question was asked.
func (r *Resolver) Count(name string, t dnswire.Type) int {
	n := 0
	for _, s := range r.servers() {
		n += s.Count(name, t)
	}
	return n
}

// Conns says how many connections were accepted so far.
func (r *Resolver) Conns() int {
	n := 0
	for _, s := range r.servers() {
		n += s.Conns()
	}
	return n
}

// DropConns closes every open connection, as a resolver does that restarts.
func (r *Resolver) DropConns() {
	for _, s := range r.servers() {
		s.DropConns()
	}
}

// Close takes the resolver away, and its relays: nothing listens where they were.
func (r *Resolver) Close() error {
	var errs []error
	for _, s := range r.servers() {
		errs = append(errs, s.Close())
	}
	if r.Relays != nil && r.Relays.Crypt != nil {
		errs = append(errs, r.Relays.Crypt.Close())
	}
	return errors.Join(errs...)
}

// Peers gives the resolver as someone with whom packets may be exchanged, over every transport of TLS.
func (r *Resolver) Peers() []capture.Peer {
	var all []capture.Peer
	for _, proto := range []capture.Proto{capture.TCP, capture.UDP} {
		for _, port := range []uint16{portDoT, portHTTPS} {
			all = append(all, r.Host.Peers(proto, port)...)
		}
	}
	return all
}

// DoTURL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoTURL() string { return fmt.Sprintf("tls://%s", hostText(r.Addr())) }

// DoHURL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoHURL() string { return fmt.Sprintf("https://%s/dns-query", hostText(r.Addr())) }

// DoQURL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoQURL() string { return fmt.Sprintf("quic://%s", hostText(r.Addr())) }

// DoH3URL gives the resolver as an upstream, by its first address.
func (r *Resolver) DoH3URL() string { return fmt.Sprintf("h3://%s/dns-query", hostText(r.Addr())) }

func hostText(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
