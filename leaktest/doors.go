package leaktest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"watertight/connect"
	"watertight/dnswire"
	"watertight/name"
	"watertight/socks"
)

// entrance is a way in by a door, as a client has it.
type entrance struct {
	name string
	in   func(ctx context.Context, conn net.Conn, t name.Target) (net.Conn, error)
}

// entrances are those of the mixed port.
func entrances() []entrance {
	return []entrance{
		{"HTTP CONNECT", byCONNECT},
		{"SOCKS4a", bySOCKS4},
		{"SOCKS5", bySOCKS5},
	}
}

// doorLimit is how long a door may take to connect or to refuse.
const doorLimit = 35 * time.Second

// refusedError is what a door said.
type refusedError struct{ said string }

func (e *refusedError) Error() string { return e.said }

// targetOf is a name of the canary as a target: with a long zone it may be none.
func targetOf(host string, port uint16) (name.Target, error) {
	h, err := name.ParseHost(host)
	if err != nil {
		return name.Target{}, err
	}
	return name.New(h, port)
}

// enterNamed asks a door for a connection to a name of the canary.
func enterNamed(ctx context.Context, d Door, e entrance, host string, port uint16) (net.Conn, error) {
	t, err := targetOf(host, port)
	if err != nil {
		return nil, err
	}
	return enter(ctx, d, e, t)
}

// enter asks a door for a connection to t.
func enter(ctx context.Context, d Door, e entrance, t name.Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("the door %s cannot be reached: %w", d.At, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	tunnel, err := e.in(ctx, conn, t)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

func byCONNECT(_ context.Context, conn net.Conn, t name.Target) (net.Conn, error) {
	if _, err := conn.Write(connect.AppendRequest(nil, t, "")); err != nil {
		return nil, err
	}
	r, err := connect.Read(conn, make([]byte, connect.MaxHead))
	if err != nil {
		return nil, err
	}
	if !r.OK() {
		return nil, &refusedError{fmt.Sprintf("%d %s", r.Status, r.Reason)}
	}
	if len(r.Rest) > 0 {
		return nil, errors.New("the far side spoke first")
	}
	return conn, nil
}

func bySOCKS4(_ context.Context, conn net.Conn, t name.Target) (net.Conn, error) {
	request, err := socks.AppendConnect4(nil, t, "")
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	if err := socks.ReadReply4(conn, new(socks.Buffer)); err != nil {
		return nil, said(err)
	}
	return conn, nil
}

func bySOCKS5(_ context.Context, conn net.Conn, t name.Target) (net.Conn, error) {
	_, err := ask5(conn, socks.AppendRequest(nil, socks.Connect, t))
	return conn, err
}

// ask5 makes a request of SOCKS5 and gives where the door says that it is bound.
func ask5(conn net.Conn, request []byte) (netip.AddrPort, error) {
	if _, err := conn.Write(socks.AppendGreeting(nil, socks.MethodNone)); err != nil {
		return netip.AddrPort{}, err
	}
	var buf socks.Buffer
	method, err := socks.ReadMethod(conn, &buf)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if method != socks.MethodNone {
		return netip.AddrPort{}, &refusedError{"it asks for a password"}
	}
	if _, err := conn.Write(request); err != nil {
		return netip.AddrPort{}, err
	}
	reply, bound, err := socks.ReadReply(conn, &buf)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if reply != socks.Succeeded {
		return netip.AddrPort{}, &refusedError{reply.String()}
	}
	return bound.Addr, nil
}

// said takes the reply of version 4 for the refusal that it is.
func said(err error) error {
	if errors.Is(err, socks.ErrRejected) || errors.Is(err, socks.ErrIdent) {
		return &refusedError{err.Error()}
	}
	return err
}

// refused says that a door said no.
func refused(err error) bool {
	_, ok := errors.AsType[*refusedError](err)
	return ok
}

// datagram sends one datagram to t by the relay of SOCKS5, and waits a moment for a reply. relayed is false where the door
// does not take datagrams.
func datagram(ctx context.Context, d Door, t name.Target, payload []byte) (relayed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	conn, err := d.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	at, err := ask5(conn, socks.AppendAssociate(nil))
	if err != nil {
		return false, err
	}
	flow, err := d.Datagrams(at)
	if err != nil {
		return false, err
	}
	defer flow.Close()
	if _, err := flow.Write(append(socks.AppendDatagramHeader(nil, t), payload...)); err != nil {
		return false, err
	}
	if err := flow.SetReadDeadline(time.Now().Add(datagramWait)); err != nil {
		return true, err
	}
	_, _ = flow.Read(make([]byte, 2048)) // whoever is there need not answer
	return true, nil
}

// datagramWait is how long the name of a datagram has to be looked up.
const datagramWait = 3 * time.Second

// question asks a DNS door over TCP or UDP.
func question(ctx context.Context, d Door, overTCP bool, q dnswire.Question) (*dnswire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	query, err := dnswire.Query(q, questionID, 0)
	if err != nil {
		return nil, err
	}
	switch {
	case d.HTTPS:
		return overHTTPS(ctx, d, query, q)
	case overTCP:
		return overStream(ctx, d, query, q)
	}
	conn, err := d.Datagrams(netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, dnswire.MaxMessage)
	n, err := conn.Read(b)
	if err != nil {
		return nil, err
	}
	return dnswire.ParseAnswer(b[:n], q, questionID)
}

// overHTTPS posts a question (RFC 8484, section 4.1).
func overHTTPS(ctx context.Context, d Door, query []byte, q dnswire.Question) (*dnswire.Answer, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	head := fmt.Sprintf("POST /dns-query HTTP/1.1\r\nHost: %s\r\nContent-Type: application/dns-message\r\nAccept: application/dns-message\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", d.Address, len(query))
	if _, err := conn.Write(append([]byte(head), query...)); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(conn, apiHead+dnswire.MaxMessage), apiHead), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers with the status %d", response.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, dnswire.MaxMessage))
	if err != nil {
		return nil, err
	}
	return dnswire.ParseAnswer(b, q, questionID)
}

// questionID is that of a question on a socket of its own, which hears nobody but this program's own door.
const questionID = 0x5754

// overStream asks over TCP, with the length before each message (RFC 1035, section 4.2.2).
func overStream(ctx context.Context, d Door, query []byte, q dnswire.Question) (*dnswire.Answer, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil { //nolint:gosec // a query is short
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, err
	}
	return dnswire.ParseAnswer(b, q, questionID)
}
