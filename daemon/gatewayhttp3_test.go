package daemon

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

func TestGateway_SpeaksHTTP3ToAnOriginThatOffersIt_unlessItIsOff(t *testing.T) {
	g := newGated(t, one, "")
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: g.port})
	for tries := 1; err != nil && tries < 10; tries++ { // another program has the port for UDP
		g = newGated(t, one, "")
		socket, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: g.port})
	}
	if err != nil {
		t.Fatal(err)
	}
	origin := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{authority.CA.Issue([]string{hostName}, []netip.Addr{loopback})}}),
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "over HTTP/3") }),
	}
	go origin.Serve(socket)
	t.Cleanup(func() { origin.Close(); socket.Close() })
	g.three.Store(true)
	g.start().awaitReady()
	asks := func(three bool) {
		t.Helper()
		if status, body := g.get(g.base()+"/a/x", ""); status != 200 || (body == "over HTTP/3") != three {
			t.Errorf("%d %s", status, body)
		}
	}
	asks(false)
	asks(true)
	asks(true)
	g.mustReload(g.text(func(origin string) string {
		return strings.Replace(one(origin), "path: /a/", "path: /a/, http3: off", 1)
	}, ""))
	asks(false)
	asks(false)
}
