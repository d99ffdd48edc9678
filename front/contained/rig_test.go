package contained_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/contain"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/front/contained"
	"watertight/front/dns"
	"watertight/lab"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

func TestMain(m *testing.M) { lab.Main(m) }

// board stands for the routes and the channels: each request goes to one origin, or is refused.
type board struct {
	origin, packets netip.AddrPort // where all connections and datagrams go
	zone            []string       // records of the network, in presentation form
	refused         map[string]fault.Code
	open            bool // what was given to nobody is carried

	mu     sync.Mutex
	dialed []string // the targets, in order
	asked  []string // of the network's resolver
	events []event.Request
}

func (b *board) decide(r route.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, isAddr := r.Target.Host().Addr()
	f := &fault.Error{Code: b.refused[r.Target.Host().String()], Message: "by the test"}
	if f.Code == "" && isAddr && !b.open {
		f.Code = fault.PolicyClientResolved
	}
	b.events = append(b.events, event.Request{Door: r.Door, Target: r.Target, Code: f.Code})
	if f.Code != "" {
		return f
	}
	b.dialed = append(b.dialed, r.Target.String())
	return nil
}

func (b *board) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	if err := b.decide(r); err != nil {
		return nil, err
	}
	return wire.DialTCP(ctx, b.origin)
}

func (b *board) DialPacket(_ context.Context, r route.Request) (net.Conn, error) {
	if err := b.decide(r); err != nil {
		return nil, err
	}
	return wire.DialUDP(b.packets)
}

func (b *board) GivenFor(_, addr netip.Addr) (all []route.Given) {
	for _, line := range b.zone {
		if owner, _, _ := strings.Cut(line, ". "); strings.HasSuffix(line, " "+addr.String()) {
			all = append(all, route.Given{Host: name.MustHost(owner), Channel: "direct"})
		}
	}
	return all
}

func (b *board) Leads(name.Host) string         { return "direct" }
func (b *board) RefusesUngiven(event.Door) bool { return !b.open }

func (b *board) Exchange(_ context.Context, _ dns.Client, q dns.Query) (*dnswire.Answer, error) {
	return b.ask(q.Question)
}

func (b *board) ask(q dnswire.Question) (*dnswire.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, q.Name+" "+q.Type.String())
	reply := dnswire.Reply{RCode: dnswire.NXDomain}
	for _, line := range b.zone {
		r, err := dnswire.ParseRecord(line)
		if err != nil {
			return nil, err
		}
		if r.Name != q.Name {
			continue
		}
		reply.RCode = dnswire.NoError
		if r.Type == q.Type {
			reply.Answer = append(reply.Answer, r)
		}
	}
	return dnswire.Local(q, reply)
}

func (b *board) StandIn(_ netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	if code := b.refused[q.Name]; code.IsPolicy() {
		return nil, fault.New(code, "by the test", nil)
	}
	h, err := name.ParseHost(q.Name)
	if err != nil {
		return nil, fault.New(fault.DNSServFail, "no host", err)
	}
	return made(h)
}

func (b *board) ExchangeBare(_ context.Context, _ netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	a, err := b.ask(q)
	if err != nil {
		return nil, err
	}
	return a.WithoutHints()
}

func (b *board) Request(e *event.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, *e)
}
func (b *board) Tunnel(*event.Tunnel) {}
func (b *board) Lookup(*event.Lookup) {}

// relay is a plain one: the daemon's splices.
func relay(_ context.Context, client, server net.Conn) (up, down int64, err error) {
	done := make(chan int64)
	go func() {
		n, _ := io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
		done <- n
	}()
	down, err = io.Copy(client, server)
	_ = client.(interface{ CloseWrite() error }).CloseWrite()
	return <-done, down, err
}

// inside is a contained host whose traffic a door serves.
type inside struct {
	*board
	t    *testing.T
	net  *contain.Net
	door *contained.Door
}

// port is where the namespace hands over what is not for port 53.
const port = 61000

// firewall hands over all that leaves: what is meant for the host itself stays.
const firewall = `
table inet watertight {
	chain sent {
		type route hook output priority mangle
		fib daddr type local return
		meta l4proto { tcp, udp } meta mark set 1
	}
	chain prerouting {
		type filter hook prerouting priority mangle
		meta mark != 1 return
		meta l4proto { tcp, udp } th dport 53 tproxy to :53 accept
		meta l4proto { tcp, udp } tproxy to :61000 accept
	}
}
`

// contains makes a host like that of a contained program, and serves it.
func contains(t *testing.T, b *board, change func(*contained.Options)) *inside {
	t.Helper()
	lab.Inside(t)
	lab.Need(t, "nft", "ip", "sh")
	o := contained.Options{
		Board: b, Relay: relay, Sink: b, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Connections: 100, Flows: 100,
	}
	if change != nil {
		change(&o)
	}
	in := &inside{board: b, t: t, net: lab.Must(contain.NewNet())(t), door: lab.Must(contained.New(o))(t)}
	t.Cleanup(func() { in.net.Close() })
	in.succeeds(fmt.Sprintf(`
		ip addr add 192.0.0.2/32 dev lo && ip -6 addr add fd77::2/128 dev lo nodad &&
		ip route add default dev lo && ip -6 route add default dev lo &&
		ip -4 rule add fwmark 1 lookup 100 && ip -4 route add local 0.0.0.0/0 dev lo table 100 &&
		ip -6 rule add fwmark 1 lookup 100 && ip -6 route add local ::/0 dev lo table 100 &&
		nft -f - <<'RULES'
%s
RULES`, firewall))
	s := contained.Sockets{ReplyFrom: func(from netip.AddrPort) (c *net.UDPConn, err error) {
		err = in.net.Do(func() (err error) { c, err = wire.ReplyFrom(from, 0); return err })
		return c, err
	}}
	var raw [2]*net.IPConn
	err := in.net.Do(func() (err error) {
		s.TCP = append(s.TCP, listen(&err, wire.ListenTransparentTCP, port))
		s.DNS = append(s.DNS, listen(&err, wire.ListenTransparentTCP, 53))
		s.UDP = append(s.UDP, listen(&err, wire.ListenTransparentUDP, port))
		s.DNSPackets = append(s.DNSPackets, listen(&err, wire.ListenTransparentUDP, 53))
		for i := range raw {
			var e error
			raw[i], e = wire.ListenTransparentICMP(i == 1)
			err = errors.Join(err, e)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Unreachable = contained.Unreachable(raw[0], raw[1])
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- in.door.Serve(ctx, s) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		raw[0].Close()
		raw[1].Close()
	})
	return in
}

// listen opens a socket for every address of both families.
func listen[S any](errs *error, open func(netip.AddrPort, uint32) (S, error), port uint16) S {
	s, err := open(netip.AddrPortFrom(netip.IPv6Unspecified(), port), 0)
	*errs = errors.Join(*errs, err)
	return s
}

// run runs a shell command in the contained host, which asks a resolver that does not exist.
func (in *inside) run(script string) (string, error) {
	in.t.Helper()
	stage := contain.Stage{Net: in.net, Files: map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.53\n"}}
	ctx, cancel := context.WithTimeout(in.t.Context(), time.Minute)
	defer cancel()
	cmd, release, err := stage.Command(ctx, os.Environ(), "/bin/sh", "-c", script)
	if err != nil {
		in.t.Fatal(err)
	}
	defer release()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := contain.Start(cmd); err != nil {
		in.t.Fatal(err)
	}
	err = cmd.Wait()
	return out.String(), err
}

func (in *inside) succeeds(script string) string {
	in.t.Helper()
	out, err := in.run(script)
	if err != nil {
		in.t.Fatalf("%v: %s", err, out)
	}
	return out
}

// log gives what was dialled, and what the network's resolver was asked.
func (b *board) log() (dialed, asked []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.dialed), slices.Clone(b.asked)
}

// code gives the code of the last request that a door of the program's reported.
func (b *board) code(door event.Door) fault.Code {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.events) - 1; i >= 0; i-- {
		if b.events[i].Door == door {
			return b.events[i].Code
		}
	}
	return "nothing was reported"
}
