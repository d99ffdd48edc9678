package cells

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// speaks3 lets an origin speak HTTP/3 too, and permits that.
func (a *api) speaks3(t testing.TB, s *lab.Scene, tweak ...func(*tls.Config)) {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{s.CA.Issue([]string{a.name, publicName}, nil)}}
	for _, f := range tweak {
		f(config)
	}
	server := &http3.Server{Handler: a, TLSConfig: http3.ConfigureTLSConfig(config)}
	socket := lab.Must(a.ListenUDP(443))(t)
	go server.Serve(socket)
	t.Cleanup(func() { server.Close(); socket.Close() })
	s.Permitted = append(s.Permitted, a.Peers(capture.UDP, 443)...)
	s.Readers = append(s.Readers, a.Peers(capture.UDP, 443)...)
}

// offers3 lets a resolver say that the origin speaks HTTP/3.
func (a *api) offers3(t testing.TB, r *internet.Resolver, more string) {
	t.Helper()
	record := lab.Must(dnswire.ParseRecord(a.name + ". 300 HTTPS 1 . alpn=h2,h3" + more))(t)
	r.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		if q.Name == a.name && q.Type == dnswire.HTTPS {
			return q.Send(dnswire.Reply{Answer: []dnswire.Record{record}})
		}
		return r.Recurse(ctx, q)
	})
}

// TestGatewayOverHTTP3 plays requests to an origin that offers HTTP/3 in its own record: they go over datagrams of the channel
// where it carries them, over HTTP/2 where it does not, and never another way.
func TestGatewayOverHTTP3(t *testing.T) {
	t.Run("controls/a gateway that resolves and dials by itself is caught", aLeakyGatewayOverHTTP3IsCaught)
	for _, families := range internet.AllFamilies() {
		t.Run("A6/direct/"+string(families), func(t *testing.T) { originOverHTTP3(t, families, nil, false) })
	}
	t.Run("A6/direct/with ECH", func(t *testing.T) { originOverHTTP3(t, internet.Dual, nil, true) })
	for _, kind := range kinds {
		t.Run("D1/"+kind.name, func(t *testing.T) { originOverHTTP3(t, internet.Dual, &farChannel{kind: kind}, false) })
		t.Run("D1/"+kind.name+"/with ECH", func(t *testing.T) { originOverHTTP3(t, internet.Dual, &farChannel{kind: kind}, true) })
	}
}

// originOverHTTP3 plays one cell: direct where far is nil.
func originOverHTTP3(t *testing.T, families internet.Families, far *farChannel, hides bool) {
	keys := dnstest.NewECH(publicName, 1)
	var origin *api
	c := lab.Cell{Start: atGateway(gateway(dot, listed))}
	arrange := func(testing.TB, *lab.Scene) {}
	of := func(s *lab.Scene) *internet.Resolver { return s.Resolver }
	want := "HTTP/3.0 /"
	if far != nil {
		c = far.cell("here")
		arrange = c.Arrange
		c.Start = atGateway(gateway(func(s *lab.Scene) string { return far.config(s, "here") }, listed))
		of = func(*lab.Scene) *internet.Resolver { return far.resolver }
		if !far.kind.datagrams() {
			want = "HTTP/2.0 /"
		}
	}
	c.Client, c.Families = baseClients[0], families
	c.Arrange = func(t testing.TB, s *lab.Scene) {
		arrange(t, s)
		permitted, readers := s.Permitted, s.Readers
		var tweak []func(*tls.Config)
		param := ""
		if hides {
			tweak, param = append(tweak, dnstest.Takes(keys)), " ech="+keys.Text()
		}
		origin = addAPI(t, s, tweak...)
		origin.speaks3(t, s, tweak...)
		if hides {
			s.Readers = readers // the origin is told the name inside what is hidden: nobody reads it on the way
		}
		if far != nil {
			s.Permitted = permitted // it is reached through the hop, or not at all
			if !hides {
				s.Readers = append(s.Readers, far.hop.peers(far.kind)...)
			}
		}
		origin.offers3(t, of(s), param)
	}
	c.After = func(t testing.TB, s *lab.Scene) {
		for range 2 {
			r := lab.Run(t, s.Client.Program("curl", "--silent", "--include", "--max-time", "15", "http://"+gatewayAddress+"/https/"+origin.name+"/"))
			if !strings.Contains(r.Stdout, "302") || strings.Contains(strings.ToLower(r.Stdout), "alt-svc") {
				t.Errorf("the origin did not answer, or the client is told of its servers: %s", r.Text())
			}
		}
		origin.mu.Lock()
		defer origin.mu.Unlock()
		if !slices.Equal(origin.seen, []string{want, want}) {
			t.Errorf("the origin saw %q, want %q", origin.seen, want)
		}
		for _, q := range s.Authority.LogOf(origin.name) {
			if q.Type == dnswire.HTTPS.String() {
				t.Errorf("somebody else was asked for the record: %v", q)
			}
		}
	}
	e := run(t, c)
	if hides {
		for _, hit := range capture.Search(e.Packets, origin.name) {
			t.Errorf("LEAK: the origin's name, as %s, in %v", hit.Form, hit.Packet)
		}
	}
}

// aLeakyGatewayOverHTTP3IsCaught makes such a call by way of a gateway that asks the host's resolver and sends datagrams by
// itself: the same checks must see it.
func aLeakyGatewayOverHTTP3IsCaught(t *testing.T) {
	lab.Need(t, "curl")
	s := lab.NewScene(t, internet.Dual)
	permitted := s.Permitted
	origin := addAPI(t, s)
	origin.speaks3(t, s)
	s.Permitted = permitted // as where the channel leads through a hop
	p := lab.Must(lab.Self(s.Client, leakyGatewayRole, "h3").Start(t.Context()))(t)
	lab.Must(p.AwaitOutput(t.Context(), "listening on"))(t)
	r := lab.Run(t, s.Client.Program("curl", "--silent", "--include", "--max-time", "15", "http://"+gatewayAddress+"/https/"+origin.name+"/"))
	if !strings.Contains(r.Stdout, "302") || !slices.Contains(origin.seen, "HTTP/3.0 /") {
		t.Errorf("the origin saw %q: %s", origin.seen, r.Text())
	}
	e := s.Gather(t, r)
	leaks := strings.Join(s.Leaks(e), "\n")
	for _, want := range []string{"a packet outside", "the name, as", "the provider was asked"} {
		if !strings.Contains(leaks, want) {
			t.Errorf("nothing says %q; what was said:\n%s\n%s", want, leaks, r.Text())
		}
	}
	for _, peer := range origin.Peers(capture.UDP, 443) {
		if slices.ContainsFunc(e.Packets, peer.Between) {
			return
		}
	}
	t.Error("no datagram to the origin was seen")
}

// leakyHTTP3 is the transport of such a gateway: without Dial it resolves and dials by itself.
func leakyHTTP3() http.RoundTripper {
	return &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}
