package memory_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/dnswire"
	"watertight/lab/memory"
	"watertight/name"
	"watertight/socks"
)

const (
	secret = "k7q2vx9m4t"
	host   = secret + ".example.com"
)

var (
	resolverAt = netip.MustParseAddrPort("185.10.0.53:853")
	strangerAt = netip.MustParseAddrPort("185.12.0.53:853")
	originAt   = netip.MustParseAddrPort("93.184.216.34:443")
	hopAt      = netip.MustParseAddrPort("146.1.0.1:1080")
	plainAt    = netip.MustParseAddrPort("8.8.8.8:53")
	authority  = memory.NewAuthority([]string{"dns.example.net"}, nil)
)

// bench is an internet in which one thing is to be done.
type bench struct {
	*memory.Internet
	t       *testing.T
	allowed memory.Allowed
}

func (b *bench) dial(to netip.AddrPort) net.Conn {
	b.t.Helper()
	conn, err := b.Ground(memory.Program).DialAddr(b.t.Context(), to)
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// say sends texts to the origin, each in a write of its own, and waits for them to come back.
func (b *bench) say(texts ...string) {
	b.t.Helper()
	conn := b.dial(originAt)
	defer conn.Close()
	go func() { // the origin sends back while it is still being spoken to
		for _, text := range texts {
			_, _ = io.WriteString(conn, text)
		}
	}()
	all := "origin\n" + strings.Join(texts, "")
	got := make([]byte, len(all))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != all {
		b.t.Errorf("the origin said %d octets: %v", len(got), err)
	}
}

// ask asks for a name over a connection, with a length before the message, and reads the answer.
func (b *bench) ask(conn net.Conn, host string) {
	b.t.Helper()
	message, err := dnswire.Query(dnswire.Question{Name: host, Type: dnswire.A}, 7, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 2+12)); err != nil {
		b.t.Error("no answer:", err)
	}
}

func (b *bench) encrypted(to netip.AddrPort) net.Conn {
	return tls.Client(b.dial(to), &tls.Config{ServerName: "dns.example.net", RootCAs: authority.CA.Pool(), NextProtos: []string{"dot"}})
}

// tunnel asks the hop for a tunnel.
func (b *bench) tunnel(to string) {
	b.t.Helper()
	conn := b.dial(hopAt)
	defer conn.Close()
	var buf socks.Buffer
	_, _ = conn.Write(socks.AppendGreeting(nil, socks.MethodNone))
	if _, err := socks.ReadMethod(conn, &buf); err != nil {
		b.t.Fatal(err)
	}
	_, _ = conn.Write(socks.AppendRequest(nil, socks.Connect, name.Must(to)))
	if _, _, err := socks.ReadReply(conn, &buf); err != nil {
		b.t.Fatal(err)
	}
}

func TestLeaks_SeesEveryKindAloneAndNothingElse(t *testing.T) {
	clear := "in clear: " + secret + " can be read on program > "
	for _, c := range []struct {
		name string
		do   func(*bench)
		want []string // the beginnings of what is said, in order
	}{
		{"what is allowed", func(b *bench) {
			b.ask(b.encrypted(resolverAt), host)
			b.say("hello")
			b.tunnel(originAt.String())
		}, nil},
		{"a stranger is dialled", func(b *bench) { b.dial(strangerAt) }, []string{"outside the channel: program > " + strangerAt.String()}},
		{"the allowed host at another port", func(b *bench) {
			_, _ = b.Ground(memory.Program).DialAddr(b.t.Context(), netip.AddrPortFrom(originAt.Addr(), 80))
		}, []string{"outside the channel: program > 93.184.216.34:80"}},
		{"a question in clear text", func(b *bench) { b.ask(b.dial(plainAt), host) }, []string{
			clear + plainAt.String(), "outside the channel: program > " + plainAt.String(), "to the wrong resolver: isp learned " + host,
		}},
		{"the name on a link that is allowed", func(b *bench) { b.say("GET " + host) }, []string{clear + originAt.String()}},
		{"in two parts", func(b *bench) { b.say("GET "+host[:4], host[4:]) }, []string{clear + originAt.String()}},
		{"another resolver is asked", func(b *bench) {
			b.allowed.Dials[memory.Program] = append(b.allowed.Dials[memory.Program], strangerAt)
			b.ask(b.encrypted(strangerAt), host)
		}, []string{"to the wrong resolver: stranger learned " + host}},
		{"a hop gets the name", func(b *bench) { b.tunnel(host + ":443") }, []string{
			clear + hopAt.String(), "to the wrong resolver: hop learned " + host,
		}},
		{"a name in a reply is asked for", func(b *bench) { b.ask(b.encrypted(resolverAt), memory.BoundName) }, []string{"a name in a reply: resolver "}},
		{"more than is kept", func(b *bench) { b.say(strings.Repeat("x", 2<<20)) }, []string{"unseen: more went over program > "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{Internet: memory.New(authority, []string{host + ". 60 A " + originAt.Addr().String()}), t: t}
				defer b.Close()
				b.Resolver("resolver", resolverAt.Addr())
				b.Resolver("stranger", strangerAt.Addr())
				b.Origin(originAt.String(), "origin")
				b.SOCKS5("hop", hopAt.String(), "", "")
				b.allowed = memory.Allowed{
					Dials: map[string][]netip.AddrPort{
						memory.Program: {resolverAt, originAt, hopAt},
						"hop":          {originAt},
					},
					Secrets: map[string][]string{secret: {"resolver"}},
				}
				c.do(b)
				synctest.Wait()
				leaks := b.Leaks(b.allowed)
				good := len(leaks) == len(c.want)
				for i := range min(len(leaks), len(c.want)) {
					good = good && strings.HasPrefix(leaks[i], c.want[i])
				}
				if !good {
					t.Errorf("it said\n%q, and it should say\n%q", leaks, c.want)
				}
			})
		})
	}
}
