package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"watertight/config"
	"watertight/front/gateway"
	"watertight/front/mixed"
	"watertight/gate"
	"watertight/wire"
)

// kind is what is spoken at a listener.
type kind string

// The kinds, and the names of the sockets that a service manager passes for them.
const (
	kindProxy kind = "proxy"
	kindAdmin kind = "admin"
	kindDNS   kind = "dns"

	kindGateway kind = "gateway"
)

// schemeH3 is that of a kindProxy which serves HTTP/3 as well.
const schemeH3 = "h3"

// listener is one open listening socket, or one of TCP and one of UDP at the same address. It is served once, for as long
// as a configuration names it.
type listener struct {
	kind    kind
	written netip.AddrPort // as in the configuration: port 0 stands for any
	scheme  string         // as in the configuration, of kindDNS
	tls     atomic.Pointer[tls.Config]
	way     atomic.Pointer[mixed.Way]     // of kindProxy and kindAdmin
	terms   atomic.Pointer[gateway.Terms] // of kindGateway
	socket  *net.TCPListener              // nil where only datagrams are served
	packets *net.UDPConn                  // nil where none are; of kindDNS, and of kindProxy with schemeH3
	passed  bool                          // by the service manager: it outlives a configuration that does not name it
	stop    context.CancelFunc
}

func (l *listener) address() netip.AddrPort {
	if l.socket == nil {
		return l.packets.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	return l.socket.Addr().(*net.TCPAddr).AddrPort()
}

// listeners are those of one configuration.
type listeners struct {
	all []*listener
	// certificates are what each that speaks TLS is to show once the configuration is in force.
	certificates map[*listener]*tls.Config
	// ways are what each of kindProxy and kindAdmin is to ask of its clients then.
	ways map[*listener]*mixed.Way
	// terms are those of each of the gateway then.
	terms map[*listener]*gateway.Terms
	// files are those with the certificates of all that do not obtain theirs.
	files followedFiles
	// done counts the listeners being served, over all configurations.
	done *sync.WaitGroup
}

// wanted is a listener of a configuration.
type wanted struct {
	kind     kind
	scheme   string
	at       netip.AddrPort
	tcp, udp bool
	tls      *tls.Config    // nil: in clear
	way      *mixed.Way     // of kindProxy and kindAdmin
	terms    *gateway.Terms // of kindGateway
	mark     uint32         // on all that is sent by it
}

func (a wishes) want(k kind, l config.DNSListener) wanted {
	w := wanted{kind: k, scheme: l.Scheme, at: l.Address, tcp: l.TCP(), udp: k == kindDNS && l.UDP()}
	if l.Speaks() {
		w.tls = &tls.Config{MinVersion: tls.VersionTLS13}
		if l.ClientCAs != nil {
			w.tls.ClientAuth, w.tls.ClientCAs = tls.RequireAndVerifyClientCert, l.ClientCAs
		}
		a.keeper.WithPass(a.certify(w.tls, l.ServerTLS))
	}
	return w
}

// serverTLS is what a listener whose clients are users speaks; nil for one in clear.
func (a wishes) serverTLS(t config.ServerTLS) *tls.Config {
	if !t.Speaks() {
		return nil
	}
	return a.certify(gate.ServerTLS(nil, t.ClientCAs), t)
}

// triedTLS is serverTLS for a door that the test comes in by.
func (a wishes) triedTLS(t config.ServerTLS) *tls.Config { return a.keeper.WithPass(a.serverTLS(t)) }

// openListeners gives the listeners of a configuration: those of before that it still names, and new ones. Those that
// the service manager passed stay, whatever the configuration names. On an error none is opened.
func openListeners(c wishes, before *listeners) (*listeners, error) {
	next := &listeners{done: before.done, files: c.files, certificates: map[*listener]*tls.Config{}, ways: map[*listener]*mixed.Way{}, terms: map[*listener]*gateway.Terms{}}
	var all []wanted
	for _, at := range c.Proxy {
		w := c.want(kindProxy, config.DNSListener{Listener: at.Listener})
		w.way = c.wayOf(at)
		if w.udp = at.H3; w.udp {
			w.scheme = schemeH3
		}
		all = append(all, w)
	}
	for _, at := range c.Admin {
		w := c.want(kindAdmin, config.DNSListener{Listener: at.Listener})
		w.way = &mixed.Way{Rules: at.Rules(), TLS: c.serverTLS(at.ServerTLS)}
		all = append(all, w)
	}
	for _, at := range c.DNS {
		all = append(all, c.want(kindDNS, at))
	}
	for _, at := range c.Gateway {
		w := c.want(kindGateway, config.DNSListener{Listener: at.Listener})
		w.terms = c.termsOf(at)
		all = append(all, w)
	}
	for _, at := range c.Transparent {
		all = append(all, wantTransparent(at))
	}
	if c.validations.IsValid() {
		all = append(all, wanted{kind: kindACME, at: c.validations, tcp: true})
	}
	for _, w := range all {
		w.mark = c.mark
		l, err := next.listen(w, before)
		if err != nil {
			next.closeUnless(before)
			return nil, err
		}
		if w.tls != nil {
			next.certificates[l] = w.tls
		}
		if w.way != nil {
			next.ways[l] = w.way
		}
		if w.terms != nil {
			next.terms[l] = w.terms
		}
		next.all = append(next.all, l)
	}
	for _, l := range before.all {
		if !l.passed || slices.Contains(next.all, l) {
			continue
		}
		if l.kind == kindProxy {
			if !l.address().Addr().IsLoopback() {
				next.closeUnless(before)
				return nil, fmt.Errorf("the service manager passed %s, which other hosts can reach, and `listen.proxy` does not say who may use it: write it there with `tls` and `users`, or with `allow_insecure: true`", l.address())
			}
		}
		if l.kind == kindProxy || l.kind == kindAdmin {
			next.ways[l] = &mixed.Way{Rules: gate.Open()}
		}
		next.all = append(next.all, l)
	}
	return next, nil
}

// wayOf gives what a listener asks of its clients.
func (a wishes) wayOf(l config.ProxyListener) *mixed.Way {
	return &mixed.Way{Rules: l.Rules().ForTest(), Balancers: l.Balancers, TLS: a.triedTLS(l.ServerTLS)}
}

// passedListeners gives the sockets of the service manager, by the names that it gave them: what stands before the
// first configuration. A name that says nothing here is an error, and then they are closed.
func passedListeners(sockets map[string][]*net.TCPListener) (*listeners, error) {
	ls := &listeners{done: &sync.WaitGroup{}}
	var strange []string
	for _, name := range slices.Sorted(maps.Keys(sockets)) {
		if name != string(kindProxy) && name != string(kindAdmin) {
			strange = append(strange, strconv.Quote(name))
		}
		for _, socket := range sockets[name] {
			ls.all = append(ls.all, &listener{kind: kind(name), socket: socket, passed: true})
		}
	}
	if len(strange) > 0 {
		ls.closeUnless(nil)
		return nil, fmt.Errorf("the service manager passed sockets called %s; write FileDescriptorName=%s or %s in the socket unit", strings.Join(strange, ", "), kindProxy, kindAdmin)
	}
	return ls, nil
}

// mark puts a mark on what is sent by sockets that were opened by somebody else, if it is not 0.
func (ls *listeners) mark(mark uint32) error {
	for _, l := range ls.all {
		if err := wire.Mark(l.socket, mark); err != nil {
			return fmt.Errorf("a socket of the service manager: %w", err)
		}
	}
	return nil
}

// listen gives a listener that ls does not hold yet: the one of before for that very address, or a new one.
func (ls *listeners) listen(w wanted, before *listeners) (*listener, error) {
	for _, l := range before.all {
		if w.fits(l) && (l.written == w.at || l.address() == w.at) && !slices.Contains(ls.all, l) {
			return l, nil
		}
	}
	l := &listener{kind: w.kind, scheme: w.scheme, written: w.at}
	at := w.at
	var err error
	if w.tcp {
		if l.socket, err = w.listenTCP(at); err != nil {
			l.socket = nil
			return nil, ls.refused(w, "", err, before)
		}
		at = l.address() // with the port that the kernel chose
	}
	if w.udp {
		if l.packets, err = w.listenUDP(at); err != nil {
			if l.socket != nil {
				_ = l.socket.Close()
			}
			return nil, ls.refused(w, ", UDP", err, before)
		}
	}
	return l, nil
}

// remedy says what to do about an address that cannot be listened on, where that is known.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program has it (`watertight status` tells if it is a Watertight): stop that one, or take another port"
	case errors.Is(err, syscall.EPERM):
		return "; a socket for what others are meant to get takes CAP_NET_ADMIN: `setcap cap_net_admin+ep` on the program, or AmbientCapabilities=CAP_NET_ADMIN in its unit; `mode: redirect` needs none"
	case errors.Is(err, syscall.EACCES):
		return "; ports below 1024 are for root: take a higher one, or a socket of the service manager"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this host has no such address: take one that `ip address` shows"
	}
	return ""
}

// refused says why a socket cannot be opened.
func (ls *listeners) refused(w wanted, how string, err error, before *listeners) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		for _, l := range slices.Concat(before.all, ls.all) {
			if (how == "" && l.socket != nil || how != "" && l.packets != nil) && overlap(l.address(), w.at) {
				return fmt.Errorf("listen.%s: cannot listen on %s%s: this program listens on %s itself, and keeps it until the new configuration is in force; take another port, or restart it", w.kind, w.at, how, l.address())
			}
		}
	}
	return fmt.Errorf("listen.%s: cannot listen on %s%s: %w%s", w.kind, w.at, how, cause(err), remedy(err))
}

// overlap says whether two addresses cannot be listened on at the same time.
func overlap(a, b netip.AddrPort) bool {
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return a.Port() == b.Port() && (x == y || x.IsUnspecified() || y.IsUnspecified())
}

// cause takes the address, which has been said, out of an error of the operating system.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// at gives the addresses of a kind.
func (ls *listeners) at(k kind) []netip.AddrPort {
	found := []netip.AddrPort{}
	for _, l := range ls.all {
		if l.kind == k {
			found = append(found, l.address())
		}
	}
	return found
}

// dns gives the addresses of the DNS door, with what is spoken there.
func (ls *listeners) dns() []string {
	var all []string
	for _, l := range ls.all {
		if l.kind == kindDNS {
			all = append(all, l.text())
		}
	}
	return all
}

// text is where a listener is, with what is spoken there.
func (l *listener) text() string {
	return config.DNSListener{Scheme: l.scheme, Listener: config.Listener{Address: l.address()}}.Text()
}

// addresses gives all addresses, for the policy: a request for one of them would go round in a circle.
func (ls *listeners) addresses() []netip.AddrPort {
	return slices.Concat(ls.at(kindProxy), ls.at(kindAdmin), ls.at(kindDNS), ls.at(kindGateway), ls.at(kindTransparent), ls.at(kindACME))
}

// serve starts to serve the listeners that are not served yet.
func (ls *listeners) serve(ctx context.Context, serve func(context.Context, *listener)) {
	for l, c := range ls.certificates {
		l.tls.Store(c)
	}
	for l, w := range ls.ways {
		l.way.Store(w)
	}
	for l, t := range ls.terms {
		l.terms.Store(t)
	}
	for _, l := range ls.all {
		if l.stop != nil {
			continue
		}
		listenCtx, stop := context.WithCancel(ctx)
		l.stop = stop
		ls.done.Go(func() { serve(listenCtx, l) })
	}
}

// closeUnless ends the listeners that are not those of keep, which may be nil. When it returns they accept no connection
// of TCP more; the connections that came by them stay for what they carry, but for nothing new where others are kept, and what serves datagrams answers what it has begun.
func (ls *listeners) closeUnless(keep *listeners) {
	for _, l := range ls.all {
		if keep != nil && slices.Contains(keep.all, l) {
			continue
		}
		if l.stop != nil {
			l.stop() // first, so that its server takes the end of the socket for an orderly one
		}
		if l.socket != nil {
			_ = l.socket.Close() // it may be closed already, by its server
		}
		if w := l.way.Load(); w != nil && keep != nil {
			// No later configuration reaches the connections that stay: who is let in now would be let in for ever.
			l.way.Store(&mixed.Way{Rules: gate.Closed(), TLS: w.TLS, Balancers: w.Balancers})
		}
		if t := l.terms.Load(); t != nil && keep != nil {
			l.terms.Store(&gateway.Terms{Hosts: t.Hosts, Rules: gate.Closed(), TLS: t.TLS})
		}
		if l.packets != nil && l.stop == nil {
			_ = l.packets.Close() // otherwise its server does, when the answers under way are sent
		}
	}
}
