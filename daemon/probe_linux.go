package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"watertight/dnswire"
)

// The addresses of resolvers that are asked from inside, whose packets must come to our own door: of documentation (RFC 5737, RFC
// 3849), so that nobody is there whatever happens.
var (
	anyResolver4 = netip.MustParseAddrPort("192.0.2.53:53")
	anyResolver6 = netip.MustParseAddrPort("[2001:db8::53]:53")
)

// probeWait bounds one question from inside.
const probeWait = 10 * time.Second

// probe asks a question from inside, as the program will, of a resolver that does not exist: the answer proves that what the
// program sends comes to us, and what we reply to it. It is one that we answer ourselves: whether the resolvers of the channels do
// is known by then, and the exit of a channel with `resolve: exit` is not to be asked.
func probe(ctx context.Context, dial func(network string, to netip.AddrPort) (net.Conn, error), v6 bool) error {
	six := make(chan error, 1)
	go func() {
		if !v6 {
			six <- nil
			return
		}
		six <- probeFrom(ctx, dial, anyResolver6)
	}()
	if err := probeFrom(ctx, dial, anyResolver4); err != nil {
		<-six
		return fmt.Errorf("a question from inside over IPv4 had no answer: %w", err)
	}
	if err := <-six; err != nil {
		return fmt.Errorf("a question from inside over IPv6 had no answer: %w", err)
	}
	return nil
}

func probeFrom(ctx context.Context, dial func(string, netip.AddrPort) (net.Conn, error), to netip.AddrPort) error {
	conn, err := dial("udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := conn.SetDeadline(time.Now().Add(probeWait)); err != nil {
		return err
	}
	q, id := dnswire.Question{Name: "localhost", Type: dnswire.A}, uint16(rand.Uint32())
	query, err := dnswire.Query(q, id, 0)
	if err != nil {
		return err
	}
	if _, err := conn.Write(query); err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	answer, err := dnswire.ParseAnswer(b[:n], q, id)
	if err != nil {
		return err
	}
	if answer.RCode == dnswire.ServFail {
		return errors.New("it failed")
	}
	return nil
}
