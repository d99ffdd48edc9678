package proxytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/masque"
	"watertight/name"
)

// H3Options say how an HTTP/3 proxy behaves.
type H3Options struct {
	Connect Dial // for CONNECT
	Packets Dial // for connect-udp
	// User and Password are what it wants; empty for none.
	User, Password string
	// NoUDP lets it speak no connect-udp.
	NoUDP bool
	// Refuse, if not 0, is the status of every answer.
	Refuse int
	// Capsules lets it send datagrams in capsules, on the stream.
	Capsules bool
	// Streams is how many requests it takes at once on a connection; 0 for a hundred.
	Streams int64
	// Takes is how many requests it looks at in all; it turns others away as not looked at. 0 is no limit.
	Takes int64
	// PacketSize is that of its packets at first, in octets; 0 leaves it to QUIC.
	PacketSize uint16
	// TLS may change its configuration first.
	TLS func(*tls.Config)
}

// requestRejected is the code of a request that was not looked at (RFC 9114, section 8.1).
const requestRejected = 0x10b

// H3Proxy is a proxy that speaks HTTP/3: CONNECT (RFC 9114, section 4.4) and connect-udp (RFC 9298).
type H3Proxy struct {
	o         H3Options
	socket    net.PacketConn
	transport *quic.Transport
	server    *http3.Server
	wg        sync.WaitGroup
	conns     atomic.Int64
	requests  atomic.Int64

	mu    sync.Mutex
	asked []string
}

// ServeH3 lets a proxy speak on a socket until it is closed. It panics if it cannot.
func ServeH3(socket net.PacketConn, cert tls.Certificate, o H3Options) *H3Proxy {
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{http3.NextProtoH3}}
	if o.TLS != nil {
		o.TLS(config)
	}
	p := &H3Proxy{o: o, socket: socket, transport: &quic.Transport{Conn: socket}}
	p.server = &http3.Server{Handler: http.HandlerFunc(p.serve), EnableDatagrams: !o.NoUDP}
	listener, err := p.transport.Listen(config, &quic.Config{EnableDatagrams: !o.NoUDP, MaxIncomingStreams: o.Streams, InitialPacketSize: o.PacketSize})
	if err != nil {
		panic("proxytest: HTTP/3: " + err.Error())
	}
	p.wg.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			p.conns.Add(1)
			p.wg.Go(func() { _ = p.server.ServeQUICConn(conn) })
		}
	})
	return p
}

// Close ends the proxy with everything that it carries.
func (p *H3Proxy) Close() error {
	_ = p.server.Close()
	_ = p.transport.Close()
	err := p.socket.Close()
	p.wg.Wait()
	return err
}

// Conns is how many connections there were.
func (p *H3Proxy) Conns() int { return int(p.conns.Load()) }

// Requests is how many requests there were.
func (p *H3Proxy) Requests() int { return int(p.requests.Load()) }

// Asked gives the targets that the proxy was asked for, as they were written; those of datagrams with `udp ` before them.
func (p *H3Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func (p *H3Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if n := p.requests.Add(1); p.o.Takes != 0 && n > p.o.Takes {
		stream, _ := w.(http3.HTTPStreamer).HTTPStream()
		stream.CancelRead(requestRejected)
		stream.CancelWrite(requestRejected)
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.o.User+":"+p.o.Password))
	switch {
	case p.o.User != "" && r.Header.Get("Proxy-Authorization") != want:
		w.WriteHeader(http.StatusProxyAuthRequired)
	case r.Method != http.MethodConnect:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.Proto == masque.Protocol:
		p.packets(w, r)
	default:
		p.connect(w, r)
	}
}

// reach asks dial for a target, and answers where it gives none.
func (p *H3Proxy) reach(w http.ResponseWriter, dial Dial, kind string, t name.Target, err error) net.Conn {
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	p.mu.Lock()
	p.asked = append(p.asked, kind+t.String())
	p.mu.Unlock()
	if p.o.Refuse != 0 {
		w.WriteHeader(p.o.Refuse)
		return nil
	}
	far, err := dial(t)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		w.Header().Set("Proxy-Status", "proxytest; error=connection_refused")
		w.WriteHeader(http.StatusBadGateway)
		return nil
	case err != nil:
		w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	return far
}

func (p *H3Proxy) connect(w http.ResponseWriter, r *http.Request) {
	t, err := name.Parse(r.Host)
	far := p.reach(w, p.o.Connect, "", t, err)
	if far == nil {
		return
	}
	defer far.Close()
	w.WriteHeader(http.StatusOK)
	stream, err := w.(http3.HTTPStreamer).HTTPStream()
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(far, stream)
		if half, ok := far.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		far.Close()
	}()
	_, err = io.Copy(stream, far)
	if err != nil {
		stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeConnectError))
	}
	_ = stream.Close()
	<-done
}

func (p *H3Proxy) packets(w http.ResponseWriter, r *http.Request) {
	t, err := masque.ParsePath(r.URL.EscapedPath())
	far := p.reach(w, p.o.Packets, "udp ", t, err)
	if far == nil {
		return
	}
	w.Header().Set(masque.CapsuleProtocol, masque.CapsuleProtocolTrue)
	w.WriteHeader(http.StatusOK)
	stream, err := w.(http3.HTTPStreamer).HTTPStream()
	if err != nil {
		far.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, maxDatagram)
		for {
			n, err := far.Read(b)
			switch {
			case errors.Is(err, syscall.ECONNREFUSED):
			case err != nil:
				return
			case p.o.Capsules:
				_, _ = stream.Write(masque.AppendCapsule(nil, b[:n]))
			default:
				_ = stream.SendDatagram(masque.AppendUDP(nil, b[:n]))
			}
		}
	})
	wg.Go(func() {
		for {
			b, err := stream.ReceiveDatagram(ctx)
			if err != nil {
				return
			}
			if payload, ok, err := masque.ParseUDP(b); ok && err == nil {
				_, _ = far.Write(payload)
			}
		}
	})
	capsules := masque.NewReader(bufio.NewReader(stream))
	for {
		payload, err := capsules.Next()
		if err != nil {
			break
		}
		_, _ = far.Write(payload)
	}
	cancel()
	far.Close()
	wg.Wait()
	_ = stream.Close()
}
