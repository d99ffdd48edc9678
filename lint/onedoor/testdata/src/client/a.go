// Package client makes HTTP clients, with and without a way out of their own.
package client

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest" // want `import "net/http/httptest": its servers and clients are for tests`
	"net/http/httputil"
	"net/url"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert" // want `import "golang.org/x/crypto/acme/autocert": its listeners open sockets`
	"golang.org/x/net/http2"
	"golang.org/x/net/proxy" // want `import "golang.org/x/net/proxy": it falls back to a direct dial`
)

var (
	_ = autocert.Manager{}
	_ = proxy.Direct
	_ = httptest.NewServer
)

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

type holds struct {
	client http.Client // want `http.Client: its zero value falls back to the host: without Transport`
}

type embeds struct {
	http.Transport // want `http.Transport: its zero value falls back to the host`
}

type defined http.Transport // want `http.Transport: its zero value falls back to the host`

type same = http.Client

var zero http.Client // want `http.Client: its zero value`

var hidden same // want `http.Client: its zero value`

func result() (c http.Client) { return } // want `http.Client: its zero value`

func forbidden(d dial, u *url.URL) {
	_, _ = http.Get("http://name.example/")                      // want `http.Get: it resolves and dials by itself, through net/http's defaults; use an http.Client over an http.Transport whose DialContext is a channel's \(onedoor: client\)`
	_, _ = http.Head("http://name.example/")                     // want `http.Head: `
	_, _ = http.Post("http://name.example/", "", nil)            // want `http.Post: `
	_, _ = http.PostForm("http://name.example/", nil)            // want `http.PostForm: `
	_ = http.DefaultClient                                       // want `http.DefaultClient: `
	_ = http.DefaultTransport.(*http.Transport).Clone()          // want `http.DefaultTransport: `
	_ = &http.Client{}                                           // want `http.Client\{\}: without Transport it uses net/http's default one; write &http.Client\{Transport: …\} \(onedoor: client\)`
	_ = &http.Client{Transport: nil}                             // want `http.Client\{\}: `
	_ = same{Timeout: 1}                                         // want `http.Client\{\}: `
	_ = []*http.Client{{}}                                       // want `http.Client\{\}: `
	_ = new(http.Client)                                         // want `http.Client: its zero value`
	_ = make([]http.Client, 1)                                   // want `http.Client: its zero value`
	_ = &http.Transport{}                                        // want `http.Transport\{\}: without DialContext`
	_ = &http.Transport{DialTLSContext: d}                       // want `http.Transport\{\}: `
	_ = &http.Transport{DialContext: nil}                        // want `http.Transport\{\}: `
	_ = &http.Transport{DialContext: d, Proxy: http.ProxyURL(u)} // want `http.Transport\{\}: `
	_ = &httputil.ReverseProxy{}                                 // want `httputil.ReverseProxy\{\}: `
	_ = &acme.Client{DirectoryURL: "https://ca.example"}         // want `acme.Client\{\}: without HTTPClient`
	_ = httputil.NewSingleHostReverseProxy(u)                    // want `httputil.NewSingleHostReverseProxy: `
	_ = &http2.Transport{AllowHTTP: true}                        // want `http2.Transport\{\}: without DialTLSContext`
	_ = &http3.Transport{DisableCompression: true}               // want `http3.Transport\{\}: without Dial`

	t := &http.Transport{DialContext: d}
	t.DialContext = nil        // want `http.Transport.DialContext: `
	t.Proxy = http.ProxyURL(u) // want `http.Transport.Proxy: `
	c := &http.Client{Transport: t}
	c.Transport = nil // want `http.Client.Transport: `
}

func allowed(d dial, c *http.Client, rt http.RoundTripper) *http.Transport {
	t := &http.Transport{DialContext: d, Proxy: nil}
	t.DialContext = d
	t.Proxy = nil
	_ = &http.Client{Transport: rt}
	_ = []*http.Client{{Transport: rt}}
	_ = &httputil.ReverseProxy{Transport: rt}
	_ = &acme.Client{HTTPClient: c}
	_ = &http2.Transport{DialTLSContext: func(string, string) (net.Conn, error) { return nil, nil }}
	_ = &http3.Transport{Dial: func(string) error { return nil }}
	var p *http.Client = c
	_, _ = p.Get("http://name.example/")
	_ = http.Request{}
	return t.Clone()
}
