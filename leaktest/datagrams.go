package leaktest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"watertight/masque"
	"watertight/name"
	"watertight/socks"
	"watertight/visit"
)

// sending is how a datagram is sent by a door, and a reply waited for for a moment. relayed is false where the door does not take it.
type sending struct {
	name string
	send func(ctx context.Context, d Door, t name.Target, payload []byte) (relayed bool, err error)
}

// sendings are those of a mixed port.
func (d Door) sendings() (all []sending) {
	if d.Relay != nil {
		all = append(all, sending{"SOCKS5", byRelay})
	}
	if d.TLS && d.Dial != nil {
		all = append(all, sending{"connect-udp", byCapsules})
	}
	if d.QUIC != nil {
		all = append(all, sending{"connect-udp over HTTP/3", byFlow3})
	}
	return all
}

// datagramWait is how long the name of a datagram has to be looked up.
const datagramWait = 3 * time.Second

// tryDatagrams sends a datagram to a fresh name by every door that takes them, in each way.
func tryDatagrams(ctx context.Context, r *run, f *findings) {
	channel := r.leads(f)
	if channel == "" {
		return
	}
	var trying sync.WaitGroup
	for _, d := range r.doorsOf(DoorProxy, f) {
		for _, way := range d.sendings() {
			trying.Go(func() {
				defer guard(f)
				r.sendDatagram(ctx, d, way, channel, "", f)
			})
		}
	}
	trying.Wait()
}

func (r *run) sendDatagram(ctx context.Context, d Door, way sending, channel, who string, f *findings) {
	label, host := r.name(visit.Plain)
	t, err := targetOf(host, r.api.port)
	if err != nil {
		f.doubt("", "%s: %v", host, err)
		return
	}
	what := strings.TrimSpace(d.At + " by " + way.name + ", a datagram " + who)
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	relayed, err := way.send(ctx, d, t, []byte{0})
	switch {
	case relayed:
		f.visit(visited{label: label, channel: channel, what: what})
	case refused(err):
		f.note("%s: refused (%s)", what, err)
		f.visit(visited{label: label, channel: channel, what: what, nobody: true})
	default:
		f.doubt("see `watertight status`", "%s: %v", what, err)
	}
}

// byRelay sends it by the relay of SOCKS5. The request says from where it will come: a relay takes whatever comes first, and that could be
// another's, who has not said who he is.
func byRelay(ctx context.Context, d Door, t name.Target, payload []byte) (relayed bool, err error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return false, unreached(d, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	flow, err := d.Relay(conn)
	if err != nil {
		return false, err
	}
	defer flow.Close()
	at, err := ask5(conn, d, socks.AppendAssociateFrom(nil, flow.From()))
	if err != nil {
		return false, err
	}
	if err := flow.Lead(at); err != nil {
		return false, err
	}
	if _, err := flow.Write(append(socks.AppendDatagramHeader(nil, t), payload...)); err != nil {
		return false, err
	}
	return true, await(flow)
}

// await waits a moment for a reply. Whoever is there need not answer.
func await(flow net.Conn) error {
	if err := flow.SetReadDeadline(time.Now().Add(datagramWait)); err != nil {
		return err
	}
	_, _ = flow.Read(make([]byte, 2048))
	return nil
}

// byCapsules sends it by connect-udp over HTTP/1.1 (RFC 9298, section 3.2).
func byCapsules(ctx context.Context, d Door, t name.Target, payload []byte) (relayed bool, err error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return false, unreached(d, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s\r\n",
		masque.Path(t), d.Address, masque.Protocol, masque.CapsuleProtocol, masque.CapsuleProtocolTrue, d.Proof.field("Proxy-Authorization")); err != nil {
		return false, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, apiHead), nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusSwitchingProtocols:
	case http.StatusProxyAuthRequired:
		return false, errStranger
	default:
		return false, &refusedError{response.Status}
	}
	if _, err := conn.Write(masque.AppendCapsule(nil, payload)); err != nil {
		return false, err
	}
	return true, await(conn)
}

// byFlow3 sends it by connect-udp over HTTP/3 (RFC 9298, section 3.4).
func byFlow3(ctx context.Context, d Door, t name.Target, payload []byte) (relayed bool, err error) {
	c, err := dialHTTP3(ctx, d)
	if err != nil {
		return false, unreached(d, err)
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	select {
	case <-c.http.ReceivedSettings(): // which have to be known first
	case <-c.quic.Context().Done():
		return false, context.Cause(c.quic.Context())
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	request := asksTunnel(ctx, d, t, nil)
	path, err := url.PathUnescape(masque.Path(t))
	if err != nil {
		return false, err
	}
	request.Proto, request.Host = masque.Protocol, d.Address.String()
	request.URL.Path, request.URL.RawPath = path, masque.Path(t)
	request.Header.Set(masque.CapsuleProtocol, masque.CapsuleProtocolTrue)
	s, err := c.open(ctx, request)
	if err != nil {
		return false, err
	}
	if err := s.SendDatagram(masque.AppendUDP(nil, payload)); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, datagramWait)
	defer cancel()
	_, _ = s.ReceiveDatagram(ctx)
	return true, nil
}
