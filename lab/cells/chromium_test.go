package cells

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// portUnguarded is that of a proxy over TLS which asks nobody who he is: a browser without a window cannot be asked.
const portUnguarded = 8449

const pictures = 8

// web is a page with pictures from hosts of their own, and with links that browsers look up before anyone follows them.
type web struct {
	*internet.Host
	cert tls.Certificate

	mu   sync.Mutex
	seen map[string]bool // hosts
}

func addWeb(t testing.TB, s *lab.Scene) *web {
	t.Helper()
	w := &web{Host: lab.Must(s.AddHost("web"))(t), cert: s.CA.Issue([]string{"*." + lab.Zone}, nil), seen: map[string]bool{}}
	for i := range pictures {
		lab.Must(0, s.Authority.Publish(other(s, fmt.Sprint("picture", i)), w.Host))(t)
	}
	for _, host := range []string{s.Canary, other(s, "early"), other(s, "warm")} {
		lab.Must(0, s.Authority.Publish(host, w.Host))(t)
	}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{w.cert}, NextProtos: []string{"h2", "http/1.1"}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			w.seen[r.Host] = true
			w.mu.Unlock()
			if strings.HasPrefix(r.Host, "picture") {
				rw.Header().Set("Content-Type", "image/svg+xml")
				fmt.Fprint(rw, `<svg xmlns="http://www.w3.org/2000/svg"/>`)
				return
			}
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(rw, `<link rel="dns-prefetch" href="//%s"><link rel="preconnect" href="https://%s"><p>greetings</p>`, other(s, "early"), other(s, "warm"))
			for i := range pictures {
				fmt.Fprintf(rw, `<img src="https://%s/">`, other(s, fmt.Sprint("picture", i)))
			}
		}),
	}
	l := lab.Must(w.Listen(443))(t)
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
	s.Permitted = append(s.Resolver.Peers(), w.Peers(capture.TCP, 443)...)
	s.Readers = w.Peers(capture.TCP, 443)
	return w
}

// chromium opens the page, with what is given, and prints what became of it. It has its own resolver, its own guesses at
// what will be needed, and services that speak with its makers: all that is left as it is.
func chromium(t testing.TB, s *lab.Scene, trusted []string, more ...string) *internet.Program {
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + t.TempDir(),
		"--ignore-certificate-errors-spki-list=" + strings.Join(trusted, ","), "--timeout=20000", "--dump-dom",
	}
	return s.Client.Program("chromium-headless-shell", append(append(args, more...), "https://"+s.Canary+"/")...)
}

func TestChromium(t *testing.T) {
	lab.Need(t, "chromium-headless-shell")
	t.Run("control", func(t *testing.T) {
		s := lab.NewScene(t, internet.Dual)
		w := addWeb(t, s)
		e := s.Gather(t, lab.Run(t, chromium(t, s, []string{dnstest.Pin(w.cert)})))
		leaks := strings.Join(s.Leaks(e), "\n")
		for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
			if !strings.Contains(leaks, want) {
				t.Errorf("INVALID: a leak went unseen: nothing says %q; what was said:\n%s\n%s", want, leaks, e.Client.Text())
			}
		}
	})
	for _, c := range []struct {
		name, proxy, door string
		one               bool // all tunnels travel on one connection
	}{
		{"TLS and HTTP_2", fmt.Sprintf("https://127.0.0.1:%d", portUnguarded), "http-connect", true},
		{"HTTP", "http://" + lab.ProxyAddress, "http-connect", false},
		{"SOCKS5", "socks5://" + lab.ProxyAddress, "socks5", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lab.NewScene(t, internet.Dual)
			w := addWeb(t, s)
			door := s.CA.Issue(nil, []netip.Addr{loopback4})
			cert, key := dnstest.PEMPair(door)
			lab.Must(0, os.WriteFile(filepath.Join(s.Dir, "door.pem"), cert, 0o600))(t)
			lab.Must(0, os.WriteFile(filepath.Join(s.Dir, "door.key"), key, 0o600))(t)
			var proxy running
			proxy.with(func(s *lab.Scene) string {
				return "listen:\n  admin: " + lab.AdminAddress + "\n  proxy:\n    - " + lab.ProxyAddress + "\n" +
					fmt.Sprintf("    - {address: \"127.0.0.1:%d\", tls: {cert: %q, key: %q}}\n", portUnguarded,
						filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key")) + "log: {level: debug, names: true}\n" + dot(s)
			})(t, s)
			e := s.Gather(t, lab.Run(t, chromium(t, s, []string{dnstest.Pin(w.cert), dnstest.Pin(door)}, "--proxy-server="+c.proxy)))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if n := trapped(s); n != "" {
				t.Errorf("the program reached for the host's resolver %s times", n)
			}
			if !strings.Contains(e.Client.Stdout, "greetings") {
				t.Errorf("the page did not arrive: %s", e.Client.Text())
			}
			clients := map[string]bool{}
			for i := range pictures {
				host := other(s, fmt.Sprint("picture", i))
				if !w.seen[host] {
					t.Errorf("%s was not called", host)
				}
				if m := regexp.MustCompile(`door=` + c.door + ` .*client=(\S+) .*target=` + host).FindStringSubmatch(proxy.Sofar().Text()); m != nil {
					clients[m[1]] = true
				}
			}
			if n := len(clients); n != pictures && !c.one || n != 1 && c.one {
				t.Errorf("%d pictures came over %d connections to the proxy", pictures, n)
			}
		})
	}
}
