package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
)

// records lets the channel's resolver answer questions of a name's HTTPS records with lines of a zone.
func (w *world) records(lines ...string) {
	w.answer = func(q dnswire.Question) (*dnswire.Answer, error) {
		var all []dnswire.Record
		for _, line := range lines {
			r, err := dnswire.ParseRecord(line)
			if err != nil {
				w.t.Error(err)
			}
			if dnswire.CanonicalName(r.Name) == q.Name {
				all = append(all, r)
			}
		}
		return dnswire.Local(q, dnswire.Reply{Answer: all})
	}
}

// speaks3 lets the origin speak HTTP/3 too, with the certificate of the other versions.
func (w *world) speaks3(tweak func(*tls.Config)) {
	w.t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		w.t.Fatal(err)
	}
	config := http3.ConfigureTLSConfig(&tls.Config{Certificates: w.server.TLSConfig.Certificates, EncryptedClientHelloKeys: w.server.TLSConfig.EncryptedClientHelloKeys})
	if tweak != nil {
		tweak(config)
	}
	server := &http3.Server{TLSConfig: config, Handler: w.server.Handler}
	go server.Serve(socket)
	w.t.Cleanup(func() { server.Close(); socket.Close() })
	w.udp = socket.LocalAddr().(*net.UDPAddr).AddrPort()
}

const offers3 = originName + ". 60 HTTPS 1 . alpn=h2,h3"

func proto(rw http.ResponseWriter, r *http.Request) {
	fmt.Fprint(rw, r.Proto, " ", r.Host, r.RequestURI, " ", r.Header.Get("Authorization"))
}

func TestARequestGoesOverHTTP3WhereTheOriginsRecordOffersIt(t *testing.T) {
	w := newWorld(t, proto)
	w.speaks3(nil)
	w.records(offers3)
	c := w.client(false)
	for range 3 {
		if resp, body := w.do(c, w.request("GET", "/openai/v1?q", nil)); resp.StatusCode != 200 || body != "HTTP/3.0 "+originName+"/v1?q "+secret {
			t.Errorf("%s %s", resp.Status, body)
		}
	}
	if len(w.flows) != 1 || w.flows[0].String() != originName+":443" {
		t.Errorf("flows to %v", w.flows)
	}
}

func TestARequestGoesOverHTTP3WhereTheOriginSaidSoItself(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Alt-Svc", `h3="elsewhere.example:443", h3=":8443"; ma=60`)
		proto(rw, r)
	})
	w.speaks3(nil)
	c := w.client(false)
	var got []string
	for range 3 {
		resp, body := w.do(c, w.request("GET", "/openai/", nil))
		if resp.Header.Get("Alt-Svc") != "" {
			t.Error("the client is told of another server")
		}
		got = append(got, strings.Fields(body)[0])
	}
	if !slices.Equal(got, []string{"HTTP/2.0", "HTTP/3.0", "HTTP/3.0"}) || len(w.flows) != 1 || w.flows[0].String() != originName+":8443" {
		t.Errorf("%q, flows to %v", got, w.flows)
	}
}

func TestHTTP3IsNotSpokenWhereItMayNotBe(t *testing.T) {
	for what, change := range map[string]func(*world){
		"off":                     func(w *world) { w.entries[0].NoHTTP3 = true; w.table = table(t, w.entries...) },
		"no datagrams":            func(w *world) { w.udp = netip.AddrPort{} },
		"no offer":                func(w *world) { w.records(originName + ". 60 HTTPS 1 . alpn=h2") },
		"for another host":        func(w *world) { w.records(); w.handler = altSvc(`h3="elsewhere.example:443"`) },
		"at a port of other kind": func(w *world) { w.records(); w.handler = altSvc(`h3=":25"`) },
		"no more":                 func(w *world) { w.records(); w.handler = altSvc(`h3=":443"; ma=0`) },
	} {
		w := newWorld(t, proto)
		w.speaks3(nil)
		w.records(offers3)
		change(w)
		c := w.client(false)
		for range 2 {
			if resp, body := w.do(c, w.request("GET", "/openai/", nil)); resp.StatusCode != 200 || !strings.HasPrefix(body, "HTTP/2.0") {
				t.Errorf("%s: %s %s", what, resp.Status, body)
			}
		}
		if len(w.flows) != 0 {
			t.Errorf("%s: flows to %v", what, w.flows)
		}
	}
}

func altSvc(v string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Alt-Svc", v)
		proto(rw, r)
	}
}

func TestWhereHTTP3FailsTheSameChannelCarriesHTTP2_andItIsLeftAloneForAWhile(t *testing.T) {
	for what, change := range map[string]func(*world){
		"a stranger's certificate": func(w *world) {
			w.speaks3(func(c *tls.Config) {
				c.Certificates = []tls.Certificate{dnstest.NewCA().Issue([]string{originName}, nil)}
			})
		},
		"another name": func(w *world) {
			w.speaks3(func(c *tls.Config) {
				c.Certificates = []tls.Certificate{authorities.Issue([]string{"other.example.com"}, nil)}
			})
		},
		"the hop refuses": func(w *world) {
			w.speaks3(nil)
			w.flowErr = fault.New(fault.HopRefused, "no datagrams today", nil)
		},
		"nobody is there": func(w *world) {
			socket, _ := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			w.udp = socket.LocalAddr().(*net.UDPAddr).AddrPort()
			socket.Close()
		},
	} {
		w := newWorld(t, proto)
		w.records(offers3)
		change(w)
		for range 2 {
			if resp, body := w.get("/openai/"); resp.StatusCode != 200 || !strings.HasPrefix(body, "HTTP/2.0") {
				t.Errorf("%s: %s %s", what, resp.Status, body)
			}
			w.table.pool(match{entry: w.table.entries[0], target: w.table.entries[0].To}).close() // so that the next needs another
		}
		if len(w.flows) != 1 {
			t.Errorf("%s: %d flows", what, len(w.flows))
		}
	}
}

func TestTheHelloIsHiddenOverHTTP3Too_orNothingIsSent(t *testing.T) {
	keys := dnstest.NewECH(publicName, 1)
	w := newWorld(t, proto, takes(keys))
	w.speaks3(nil)
	w.records(offers3 + " ech=" + keys.Text())
	if resp, body := w.get("/openai/"); resp.StatusCode != 200 || !strings.HasPrefix(body, "HTTP/3.0") {
		t.Fatalf("%s %s", resp.Status, body)
	}
	if got := w.took(); !slices.Equal(got, []bool{true}) {
		t.Errorf("the origin took what was hidden: %v", got)
	}
	// Keys that the origin does not have, of which it sends no others, or others that it has.
	for name, retries := range map[string]bool{"no others": false, "others": true} {
		old := dnstest.NewECH(publicName, 2)
		w := newWorld(t, proto, func(_ *world, c *tls.Config, _ *Entry) {
			if retries {
				takes(keys)(nil, c, nil)
			}
		})
		w.speaks3(nil)
		w.records(originName + ". 60 HTTPS 1 . alpn=h3 no-default-alpn ech=" + old.Text())
		resp, body := w.get("/openai/")
		if (resp.StatusCode == 200) != retries {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
		if got := w.took(); retries && !slices.Equal(got, []bool{true}) || !retries && len(got) > 0 {
			t.Errorf("%s: the origin took %v", name, got)
		}
	}
}

// took says of each request whether the origin took the hello that was hidden.
func (w *world) took() []bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ech)
}

func TestStreamsGoBothWaysOverHTTP3_withTrailers(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "Sum")
		rc := http.NewResponseController(rw)
		rc.Flush()
		b := make([]byte, 1)
		n := 0
		for {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				break
			}
			n++
			rw.Write(b)
			rc.Flush()
		}
		rw.Header().Set("Sum", fmt.Sprint(n, r.Trailer.Get("Mine")))
	})
	w.speaks3(nil)
	w.records(offers3)
	for _, h2 := range []bool{false, true} {
		pr, pw := io.Pipe()
		r := w.request("POST", "/openai/", pr)
		r.Trailer = http.Header{"Mine": nil}
		resp, err := w.client(h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		for i := range 3 {
			pw.Write([]byte{byte('a' + i)})
			if _, err := io.ReadFull(resp.Body, b); err != nil || b[0] != byte('a'+i) {
				t.Fatalf("%q %v", b, err)
			}
		}
		r.Trailer.Set("Mine", "!")
		pw.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil || resp.Trailer.Get("Sum") != "3!" {
			t.Errorf("h2 %v: %q %v %v", h2, rest, err, resp.Trailer)
		}
	}
	if len(w.flows) != 1 || w.dialled() > 1 {
		t.Errorf("%d flows, %d connections", len(w.flows), w.dialled())
	}
}

func TestALargeBodyPassesOverHTTP3Whole(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
	w.speaks3(nil)
	w.records(offers3)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if resp, body := w.do(w.client(true), w.request("POST", "/openai/", bytes.NewReader(sent))); resp.StatusCode != 200 || body != string(sent) {
		t.Errorf("%s, %d octets", resp.Status, len(body))
	}
}

func TestAClientThatHangsUpEndsTheStreamOfTheOrigin(t *testing.T) {
	for _, over := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
		for _, h2 := range []bool{false, true} {
			arrived, ended := make(chan string, 1), make(chan error, 1)
			protocols := map[string]option{"HTTP/1.1": only("http/1.1"), "HTTP/2.0": only("h2"), "HTTP/3.0": only("h2")}[over]
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				http.NewResponseController(rw).Flush()
				arrived <- r.Proto
				<-r.Context().Done()
				ended <- r.Context().Err()
			}, protocols)
			if over == "HTTP/3.0" {
				w.speaks3(nil)
				w.records(offers3)
			}
			ctx, hangUp := context.WithCancel(t.Context())
			resp, err := w.client(h2).Do(w.request("GET", "/openai/", nil).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			if got := <-arrived; got != over {
				t.Errorf("it went over %s, not %s", got, over)
			}
			hangUp()
			resp.Body.Close()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", over, err)
			}
		}
	}
}

func TestABodyIsAskedForOverHTTP3WhereTheClientWaitsForThat(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			if wanted {
				io.Copy(rw, r.Body)
				return
			}
			rw.WriteHeader(http.StatusForbidden)
		})
		w.speaks3(nil)
		w.records(offers3)
		read := false
		r := w.request("POST", "/openai/", readerFunc(func(b []byte) (int, error) {
			if read {
				return 0, io.EOF
			}
			read = true
			return copy(b, "body"), nil
		}))
		r.Header.Set("Expect", "100-continue")
		resp, body := w.do(w.client(false), r)
		if wanted && body != "body" || !wanted && (resp.StatusCode != 403 || read) {
			t.Errorf("wanted %v: %s %q, read %v", wanted, resp.Status, body, read)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestARequestThatBreaksOffOverHTTP3IsSentAgainOnlyWhereThatCannotDoItTwice(t *testing.T) {
	for method, again := range map[string]bool{"GET": true, "DELETE": true, "POST": false, "PATCH": false} {
		var asked atomic.Int32
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 2 {
				panic(http.ErrAbortHandler)
			}
			proto(rw, r)
		})
		w.speaks3(nil)
		w.records(offers3)
		c := w.client(false)
		w.do(c, w.request("GET", "/openai/", nil))
		resp, body := w.do(c, w.request(method, "/openai/", nil))
		if want := map[bool]int32{true: 3, false: 2}[again]; (resp.StatusCode == 200) != again || asked.Load() != want {
			t.Errorf("%s: %s %s, asked %d times", method, resp.Status, body, asked.Load())
		}
		if !again {
			w.refusal(resp, body, fault.OriginFailed)
		}
	}
}
