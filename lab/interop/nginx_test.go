package interop

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// website puts nginx on a host of its own, and gives that host the canary's name.
func website(t testing.TB, s *lab.Scene) *site {
	t.Helper()
	w := &site{host: lab.Must(s.AddHost("website"))(t), ports: []uint16{servers.PortHTTP, servers.PortHTTPS}}
	w.root = servers.Website(t, w.host, s.CA.Issue([]string{"*." + lab.Zone}, nil))
	must(t, s.Authority.Publish(s.Canary, w.host))
	return w
}

func (w *site) write(t testing.TB, name string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(w.root, name), content, 0o644))
}

func TestNginx_KeepsItsConnectionForTheNextRequest(t *testing.T) {
	lab.Curl.Require(t)
	for _, way := range ways() {
		for _, scheme := range []string{"https", "http"} {
			t.Run(way.name+"/"+scheme, func(t *testing.T) {
				sealedVisit(t, website, way, "http", func(t testing.TB, s *lab.Scene, w *site, proxy string) {
					w.write(t, "a", []byte("first\n"))
					w.write(t, "b", []byte("second\n"))
					base := scheme + "://" + s.Canary
					r := calls(t, curl(s, proxy, base+"/a", base+"/b"))
					if r.Stdout != "first\nsecond\n" || !strings.Contains(r.Stderr, "Re-using existing") {
						t.Errorf("not two answers on one connection:\n%s", r.Text())
					}
				}, scheme == "https")
			})
		}
	}
}

// In chunks the length of the answer is not known beforehand; the octets must be those of nginx.
func TestNginx_SendsInChunks(t *testing.T) {
	lab.Curl.Require(t)
	content := bytes.Repeat([]byte("a line of many, which compress well\n"), 20000)
	for _, way := range ways() {
		for _, scheme := range []string{"https", "http"} {
			t.Run(way.name+"/"+scheme, func(t *testing.T) {
				sealedVisit(t, website, way, "http", func(t testing.TB, s *lab.Scene, w *site, proxy string) {
					w.write(t, "lines", content)
					r := calls(t, curl(s, proxy, "--http1.1", "--header", "Accept-Encoding: gzip", scheme+"://"+s.Canary+"/chunked/lines"))
					if !strings.Contains(r.Stderr, "Transfer-Encoding: chunked") {
						t.Errorf("not in chunks:\n%s", r.Stderr)
					}
					z := lab.Must(gzip.NewReader(strings.NewReader(r.Stdout)))(t)
					if got := lab.Must(io.ReadAll(z))(t); !bytes.Equal(got, content) {
						t.Errorf("%d octets arrived, and they are not the %d of the file", len(got), len(content))
					}
				}, scheme == "https")
			})
		}
	}
}

// What is sent each way in one piece.
const (
	mebi  = 1 << 20
	large = 4 * mebi
	huge  = 50 * mebi
)

// Here the packets are too many to be searched for each control: that curl leaks without a proxy, and that a leaky
// proxy is caught, is shown by the other tests.
func TestNginx_LargeFilesArriveAsTheyWereSent(t *testing.T) {
	lab.Curl.Require(t)
	octets := make([]byte, huge)
	lab.Must(rand.Read(octets))(t)
	for _, c := range []struct {
		way             over
		scheme, content string
		size            int
	}{
		{overDirect(), "http", "https", huge},
		{overHop(squid()), "socks5h", "https", huge},
		{overHop(dante()), "http", "http", large},
		{overHop(microsocks()), "socks5h", "https", large},
		{overHop(tinyproxy()), "http", "https", large},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s/%d MiB", c.way.name, c.scheme, c.content, c.size/mebi), func(t *testing.T) {
			content := octets[:c.size]
			s := lab.NewScene(t, internet.Dual)
			w := website(t, s)
			c.way.arrange(t, s, w)
			lab.StartWatertight(t, s, c.way.config(s))
			proxy := c.scheme + "://" + lab.ProxyAddress
			base := c.content + "://" + s.Canary

			w.write(t, "down", content)
			got := filepath.Join(t.TempDir(), "got")
			calls(t, curl(s, proxy, "--output", got, base+"/down"))
			same(t, "the download", got, content)
			// No faster than the server sends: the capture has to keep up with it.
			calls(t, curl(s, proxy, "--limit-rate", "16M", "--upload-file", filepath.Join(w.root, "down"), base+"/up"))
			same(t, "the upload", filepath.Join(w.root, "up"), content)

			c.way.check(t, s)
			for _, leak := range s.Leaks(s.Gather(t, internet.Result{})) {
				t.Error("LEAK:", leak)
			}
		})
	}
}

func same(t testing.TB, what, path string, want []byte) {
	t.Helper()
	got := lab.Must(os.ReadFile(path))(t)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s: %d octets arrived, and they are not the %d that were sent", what, len(got), len(want))
	}
}
