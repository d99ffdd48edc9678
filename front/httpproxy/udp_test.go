package httpproxy

//lint:file-ignore SA1019 its successor in net/http sends no extended CONNECT: it refuses the field :protocol

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	xhttp2 "golang.org/x/net/http2"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/masque"
	"watertight/name"
	"watertight/route"
)

// udpEcho sends back what it is sent, and gives its port.
func udpEcho(t *testing.T) string {
	t.Helper()
	s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := s.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = s.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	_, port, _ := net.SplitHostPort(s.LocalAddr().String())
	return port
}

// udpFlow is a flow as a client has it.
type udpFlow struct {
	resp *http.Response
	send func([]byte) error
	next func() ([]byte, error)
	end  func()
}

// udp2 asks for a flow over HTTP/2.
func (h *http2Client) udp2(t *testing.T, path, user string) udpFlow {
	t.Helper()
	conn, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&xhttp2.Transport{
		DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return nil, net.ErrClosed },
	}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r, w := io.Pipe()
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: "proxy.example", Path: path}, Host: "proxy.example", Body: r,
		Header: http.Header{":protocol": {masque.Protocol}, "Capsule-Protocol": {"?1"}},
	}
	if user != "" {
		req.Header.Set("Proxy-Authorization", strings.TrimPrefix(basicOf(user), "Proxy-Authorization: "))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	resp, err := c.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); resp.Body.Close() })
	return udpFlow{
		resp: resp, next: masque.NewReader(bufio.NewReader(resp.Body)).Next, end: func() { w.Close() },
		send: func(b []byte) error { _, err := w.Write(masque.AppendCapsule(nil, b)); return err },
	}
}

// udp3 asks for a flow over HTTP/3.
func udp3(t *testing.T, p *proxy, path string, inDatagrams bool) udpFlow {
	t.Helper()
	dial, _ := p.http3Config(t, patience, anyNumber, &quic.Config{EnableDatagrams: inDatagrams}, &http3.Transport{Dial: noDial, EnableDatagrams: inDatagrams})
	c, _ := dial()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s, err := c.OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ReceivedSettings():
	case <-ctx.Done():
		t.Fatal("no settings")
	}
	_ = s.SetDeadline(time.Now().Add(patience))
	u := &url.URL{Scheme: "https", Host: "proxy.example", Path: path}
	if err := s.SendRequestHeader(&http.Request{Method: http.MethodConnect, Proto: masque.Protocol, URL: u, Host: u.Host, Header: http.Header{"Capsule-Protocol": {"?1"}}}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	f := udpFlow{resp: resp, end: func() { s.Close() }}
	if !inDatagrams {
		f.next = masque.NewReader(bufio.NewReader(s)).Next
		f.send = func(b []byte) error { _, err := s.Write(masque.AppendCapsule(nil, b)); return err }
		return f
	}
	f.send = func(b []byte) error { return s.SendDatagram(masque.AppendUDP(nil, b)) }
	f.next = func() ([]byte, error) {
		b, err := s.ReceiveDatagram(ctx)
		if err != nil {
			return nil, err
		}
		payload, ok, err := masque.ParseUDP(b)
		if !ok {
			return nil, errors.New("another context")
		}
		return payload, err
	}
	return f
}

// udp1 asks for a flow over HTTP/1.1 inside TLS.
func (h *http2Client) udp1(t *testing.T, target string) udpFlow {
	t.Helper()
	conn, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: proxy.example\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n"+
		basicOf("alice:")+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	return udpFlow{
		resp: resp, next: masque.NewReader(r).Next, end: func() { conn.CloseWrite() },
		send: func(b []byte) error { _, err := conn.Write(masque.AppendCapsule(nil, b)); return err },
	}
}

// flows asks for one by every way that there is.
func flows(t *testing.T, p *proxy, path string, f func(*testing.T, udpFlow)) {
	h := p.http2(t)
	t.Run("HTTP/2", func(t *testing.T) { f(t, h.udp2(t, path, "alice:")) })
	t.Run("HTTP/1.1", func(t *testing.T) { f(t, h.udp1(t, path)) })
	t.Run("HTTP/1.1, in absolute form", func(t *testing.T) { f(t, h.udp1(t, "https://proxy.example"+path)) })
	t.Run("HTTP/3, in datagrams", func(t *testing.T) { f(t, udp3(t, p, path, true)) })
	t.Run("HTTP/3, in capsules", func(t *testing.T) { f(t, udp3(t, p, path, false)) })
}

func TestDatagramsTravelByConnectUDP(t *testing.T) {
	port := udpEcho(t)
	p := serve(t, nil)
	flows(t, p, "/.well-known/masque/udp/echo.example/"+port+"/", func(t *testing.T, f udpFlow) {
		if f.resp.StatusCode != 200 && f.resp.StatusCode != 101 || f.resp.Header.Get("Capsule-Protocol") != "?1" {
			t.Fatalf("%s %v", f.resp.Status, f.resp.Header)
		}
		for _, text := range []string{"one", "", strings.Repeat("x", 1200)} {
			if err := f.send([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := f.next(); string(got) != text || err != nil {
				t.Errorf("%d octets came back as %d, %v", len(text), len(got), err)
			}
		}
		f.end()
		select {
		case e := <-p.sink.tunnels:
			if e.Door != event.DoorConnectUDP || e.Up != 1203 || e.Down != 1203 {
				t.Errorf("told %+v", e)
			}
		case <-time.After(patience):
			t.Error("the flow does not end with its client")
		}
		asked := p.dialer.requests()
		if r := asked[len(asked)-1]; r.Target != name.Must("echo.example:"+port) || r.Door != event.DoorConnectUDP || !r.Client.IsValid() {
			t.Errorf("asked %+v", r)
		}
	})
	if r := p.dialer.requests()[0]; r.Identity != (client.Identity{User: "alice"}) {
		t.Errorf("asked %+v", r)
	}
	if used := p.flows.Used(); used != 0 {
		t.Errorf("%d flows are left", used)
	}
}

func TestARefusedFlowIsAStatusWithItsReasons(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error {
		return fault.New(fault.HopRefused, "channel a carries no datagrams", nil)
	})
	flows(t, p, "/.well-known/masque/udp/echo.example/443/", func(t *testing.T, f udpFlow) {
		if f.resp.StatusCode/100 == 2 || !strings.Contains(f.resp.Header.Get("Proxy-Status"), "carries no datagrams") {
			t.Errorf("%s %v", f.resp.Status, f.resp.Header)
		}
	})
	before := len(p.dialer.requests())
	for _, path := range []string{"/", "/.well-known/masque/udp/echo.example/0/", "/.well-known/masque/udp/127.1/443/", "/.well-known/masque/udp/a/443/?x"} {
		u, _ := url.Parse(path)
		if f := p.http2(t).udp2(t, u.Path, ""); u.RawQuery == "" && f.resp.StatusCode != 400 {
			t.Errorf("%s: %s", path, f.resp.Status)
		}
	}
	if asked := p.dialer.requests()[before:]; len(asked) > 1 { // that of the query, without it
		t.Errorf("asked %+v", asked)
	}
	if used := p.flows.Used(); used != 0 {
		t.Errorf("%d flows are left", used)
	}
}

func TestNobodyGetsAFlowWithoutProof(t *testing.T) {
	p := serve(t, nil)
	guarded(t, p, "alice", "s3cret")
	h := p.http2(t)
	for _, user := range []string{"", "alice:wrong"} {
		if f := h.udp2(t, "/.well-known/masque/udp/echo.example/443/", user); f.resp.StatusCode != 407 {
			t.Errorf("%q: %s", user, f.resp.Status)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
	if f := h.udp2(t, "/.well-known/masque/udp/echo.example/"+udpEcho(t)+"/", "alice:s3cret"); f.resp.StatusCode != 200 {
		t.Error(f.resp.Status)
	}
}

func TestWhatIsNoCapsuleEndsTheFlow(t *testing.T) {
	port := udpEcho(t)
	p := serve(t, nil)
	h := p.http2(t)
	f := h.udp2(t, "/.well-known/masque/udp/echo.example/"+port+"/", "")
	if err := f.send(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.next(); err != nil {
		t.Fatal(err)
	}
	go f.send(make([]byte, masque.MaxPayload+10)) // it is not taken
	if _, err := f.next(); err == nil || err == io.EOF {
		t.Errorf("it ends as if whole: %v", err)
	}
	<-p.sink.tunnels
}

func TestThereAreOnlySoManyFlows(t *testing.T) {
	p := serve(t, nil)
	for p.flows.Used() < maxFlows {
		p.flows.Take(flow.AtAddress(netip.MustParseAddr("127.0.0.1")), func() {}, time.Now)
	}
	f := p.http2(t).udp2(t, "/.well-known/masque/udp/echo.example/443/", "")
	if f.resp.StatusCode/100 == 2 || p.sink.codes()[0] != string(fault.Limit) {
		t.Errorf("%s, told %q", f.resp.Status, p.sink.codes())
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
}

func TestWhoHasAllFlowsGivesOneToAnother(t *testing.T) {
	port := udpEcho(t)
	p := serve(t, nil)
	gone := make(chan struct{}, maxFlows)
	for p.flows.Used() < maxFlows {
		p.flows.Take("user alice", func() { gone <- struct{}{} }, time.Now)
	}
	f := p.http2(t).udp2(t, "/.well-known/masque/udp/echo.example/"+port+"/", "")
	if f.resp.StatusCode/100 != 2 {
		t.Fatal(f.resp.Status)
	}
	if len(gone) != 1 {
		t.Errorf("%d flows of the other ended", len(gone))
	}
}
