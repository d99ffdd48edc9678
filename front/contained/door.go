// Package contained is the door for a contained program: the outside end of the sockets in its network namespace, to which all
// that it sends is handed over by TPROXY. It is made of two other doors, the transparent one and that of DNS.
//
// It promises that a question for the addresses of a name is answered with addresses that stand for the name, and asks nobody;
// that a connection to such an address is carried by the name, and thereby resolved in the channel that carries it or not at
// all; that an address which was given to nobody is carried only where the configuration says so; and that a program is told at
// once of what is not carried: by a reset, and by ICMP. It opens no socket, and never resolves or dials by itself.
package contained

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/front/dns"
	"watertight/front/transparent"
	"watertight/name"
	"watertight/synthetic"
)

// Board is what decides about requests, and carries them.
type Board interface {
	transparent.Dialer
	// Exchange answers any question, with the addresses of the network where it is for some.
	dns.Handler
	// StandIn answers a question for the addresses of a name with what made gives, unless the name is refused, or known not to
	// exist, or special. Nobody is asked.
	StandIn(client netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error)
	// ExchangeBare answers any other question, without an address of the network.
	ExchangeBare(ctx context.Context, client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error)
}

// Options is what a door is made of.
type Options struct {
	Board       Board
	Relay       transparent.Relay
	Sink        event.Sink
	Logger      *slog.Logger       // told of faults of the program and of the host, never of names
	Connections int                // at one time, those of DNS not counted
	Together    *transparent.Share // a limit on them that the doors of other programs have too; nil where there is none
	Full        func()             // hears of each for which there was no room, and does not wait; nil tells nobody
	Flows       int                // of datagrams, at one time
	Drain       time.Duration      // that open connections get when [Door.Serve] is told to end
	// RealAddresses gives the program the addresses of the network. They are remembered, so that a connection is still carried by
	// the name.
	RealAddresses bool
	// NoIPv6 says that the program has no IPv6: no name has an address of it then.
	NoIPv6 bool
}

func (o Options) validate() error {
	switch {
	case o.Board == nil:
		return errors.New("contained: a door needs a board")
	case o.Drain < 0:
		return errors.New("contained: a time is negative")
	}
	return nil // the doors that it is made of ask for the rest
}

// Sockets are those in the network namespace of a program. The door closes them when it ends.
type Sockets struct {
	// TCP listen for connections, and UDP take datagrams with the address that they were sent to ([wire.ListenTransparentTCP],
	// [wire.ListenTransparentUDP]), all but those for port 53.
	TCP []*net.TCPListener
	UDP []*net.UDPConn
	// DNS and DNSPackets are the same for port 53. Those for datagrams have that port themselves, since replies come from it.
	DNS        []*net.TCPListener
	DNSPackets []*net.UDPConn
	// ReplyFrom opens a socket in the namespace that sends from any address.
	ReplyFrom transparent.ReplyFrom
	// Unreachable tells a program, by ICMP in its namespace, that nobody takes what it sent from client to meant. It does not wait.
	Unreachable func(client, meant netip.AddrPort)
}

func (s Sockets) validate() error {
	switch {
	case len(s.TCP) == 0 || len(s.UDP) == 0 || len(s.DNS) == 0 || len(s.DNSPackets) == 0:
		return errors.New("contained: a program needs sockets of each kind")
	case s.ReplyFrom == nil || s.Unreachable == nil:
		return errors.New("contained: a program needs to be answered, and told what is refused")
	}
	return nil
}

// Door serves one program, with all that it starts.
type Door struct {
	o       Options
	book    *synthetic.Book
	traffic *transparent.Door
	names   *dns.Door

	unreachable atomic.Pointer[func(client, meant netip.AddrPort)]
	refused     atomic.Uint64
	served      atomic.Bool
}

// New checks the options.
func New(o Options) (*Door, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := &Door{o: o, book: synthetic.New()}
	var err error
	d.traffic, err = transparent.New(transparent.Options{
		Dialer: o.Board, Relay: o.Relay, Sink: o.Sink, Logger: o.Logger, Connections: o.Connections, Together: o.Together, Full: o.Full, Flows: o.Flows,
		Own: func(_, _ netip.AddrPort) bool { return false }, Stands: d.stands, Refused: d.refuse,
		Door: event.DoorExec, PacketDoor: event.DoorExecUDP,
	})
	if err != nil {
		return nil, err
	}
	handler := dns.Handler(o.Board)
	if !o.RealAddresses {
		handler = &names{board: o.Board, book: d.book, noIPv6: o.NoIPv6}
	}
	d.names, err = dns.New(dns.Options{Handler: handler, Logger: o.Logger, Home: true})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// SetConnections changes the limit from now on.
func (d *Door) SetConnections(n int) { d.traffic.SetConnections(n) }

// Book is which addresses stand for names.
func (d *Door) Book() *synthetic.Book { return d.book }

// stands says which name an address stands for. What belongs to the namespace itself, and comes here nevertheless, stands for
// none: outside of it the same addresses are those of other hosts.
func (d *Door) stands(a netip.Addr) (name.Host, bool) {
	if a.IsLoopback() || a.IsUnspecified() {
		return name.Host{}, true
	}
	if d.o.RealAddresses { // then none was given out that stands for a name
		return name.Host{}, false
	}
	return d.book.Name(a)
}

// refuse tells the program that a datagram is not carried.
func (d *Door) refuse(client, meant netip.AddrPort) {
	d.refused.Add(1)
	if tell := d.unreachable.Load(); tell != nil {
		(*tell)(client, meant)
	}
}

// Serve serves a program by its sockets until ctx ends, and closes them. It gives nil then, or the error that ended one of them:
// the program has no network any more. It is called once.
func (d *Door) Serve(ctx context.Context, s Sockets) error {
	if err := s.validate(); err != nil {
		s.close()
		return err
	}
	if d.served.Swap(true) {
		s.close()
		return errors.New("contained: a door serves one program")
	}
	d.unreachable.Store(&s.Unreachable)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	run := func(serve func() error) {
		wg.Go(func() {
			err := serve()
			stop() // the others end with it
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	for _, l := range s.TCP {
		run(func() error { return d.traffic.Serve(ctx, l, transparent.Here(addrOf(l.Addr()))) })
	}
	for _, c := range s.UDP {
		run(func() error { return d.traffic.ServeUDP(ctx, c, s.ReplyFrom) })
	}
	for _, l := range s.DNS {
		run(func() error { return d.names.ServeTCP(ctx, l) })
	}
	for _, c := range s.DNSPackets {
		run(func() error { return d.names.ServeUDP(ctx, c) })
	}
	wg.Wait()
	d.traffic.Drain(d.o.Drain)
	return errors.Join(errs...)
}

func addrOf(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

func (s Sockets) close() {
	for _, l := range append(s.TCP[:len(s.TCP):len(s.TCP)], s.DNS...) {
		_ = l.Close()
	}
	for _, c := range append(s.UDP[:len(s.UDP):len(s.UDP)], s.DNSPackets...) {
		_ = c.Close()
	}
}

// Stats counts what happened at a door since it was made. It holds no names and no addresses.
type Stats struct {
	Connections int64     `json:"connections"` // open now
	Flows       int       `json:"flows"`       // of datagrams, open now
	Names       int       `json:"names"`       // that have addresses
	MaxNames    int       `json:"max_names"`
	Dropped     uint64    `json:"dropped"` // datagrams over a limit, or to nobody
	Refused     uint64    `json:"refused"` // datagrams of which the program was told that nobody takes them
	DNS         dns.Stats `json:"dns"`
}

// Stats gives the counts.
func (d *Door) Stats() Stats {
	return Stats{
		Connections: d.traffic.Open(), Flows: d.traffic.Flows(), Names: d.book.Len(), MaxNames: synthetic.MaxNames,
		Dropped: d.traffic.Dropped(), Refused: d.refused.Load(), DNS: d.names.Stats(),
	}
}
