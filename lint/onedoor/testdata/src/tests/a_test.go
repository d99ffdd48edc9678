package tests

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"

	"github.com/miekg/dns"
)

func allowed(l net.Listener, u *url.URL) {
	_, _ = net.Listen("tcp", "127.0.0.1:0")
	_, _ = net.Listen("tcp6", "[::1]:0")
	_, _ = net.Listen("unix", "/tmp/x.sock")
	_, _ = net.ListenPacket("udp", "127.0.0.1:0")
	_, _ = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	_, _ = net.Dial("tcp", l.Addr().String())
	_, _ = (&net.Dialer{}).DialContext(context.Background(), "tcp", "127.0.0.1:1")
	_ = &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	_ = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}
	_ = httptest.NewServer(nil).Client()
	_ = exec.Command("true")
	_ = &dns.Msg{}
}

func forbidden(l net.Listener) {
	_, _ = net.Listen("tcp", ":0")                                            // want `net.Listen: only wire opens sockets`
	_, _ = net.Listen("tcp", "localhost:0")                                   // want `net.Listen: `
	_, _ = net.Dial("tcp", "192.0.2.1:1")                                     // want `net.Dial: `
	_, _ = net.Dial("tcp", "name.example:1")                                  // want `net.Dial: `
	_, _ = (&net.Dialer{}).DialContext(context.Background(), "tcp", "[::]:1") // want `net.Dialer.DialContext: `
	_, _ = net.LookupHost("name.example")                                     // want `net.LookupHost: `
	_, _ = net.ResolveTCPAddr("tcp", l.Addr().String())                       // want `net.ResolveTCPAddr: `
	_ = &http.Transport{Proxy: http.ProxyFromEnvironment}                     // want `http.ProxyFromEnvironment: `
	_ = &http.Transport{}                                                     // want `http.Transport\{\}: `
	_ = &http.Client{}                                                        // want `http.Client\{\}: `
	_, _ = http.Get("http://127.0.0.1/")                                      // want `http.Get: `
	_, _ = dns.Exchange(nil, "127.0.0.1:1")                                   // want `dns.Exchange: `
}
