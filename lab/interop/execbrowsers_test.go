package interop

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/internet"
)

const portSTUN = 3478

// stun is a page that looks for the browser's addresses by WebRTC, and the server that it asks for them.
type stun struct {
	at netip.Addr // the server's, which the page knows too

	mu    sync.Mutex
	found string // what the page sent home: candidates (RFC 8839, section 5.1)
	home  chan struct{}
	asked []netip.Addr // by whom
}

const stunPage = `<!doctype html><title>page</title><p>greetings<script>
const found = [], pc = new RTCPeerConnection({iceServers: [{urls: ["stun:%s:%d", "stun:%s:%d"]}]});
const home = () => fetch("/stun/found", {method: "POST", body: found.join("\n")});
pc.onicecandidate = e => e.candidate ? found.push(e.candidate.candidate) : home();
pc.createDataChannel("data");
pc.createOffer().then(o => pc.setLocalDescription(o));
setTimeout(home, 15000);
</script><img src="/stun/wait">`

// serveSTUN adds the page to the site's, and starts the server.
func (w *wild) serveSTUN(t testing.TB) *stun {
	t.Helper()
	st := &stun{at: w.site.host.Addr4, home: make(chan struct{})}
	w.pages.HandleFunc("/stun/", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, stunPage, "stun-"+r.Host, portSTUN, st.at, portSTUN)
	})
	w.pages.HandleFunc("/stun/found", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		st.mu.Lock()
		defer st.mu.Unlock()
		select {
		case <-st.home:
		default:
			st.found = string(b) + "\n"
			close(st.home)
		}
	})
	w.pages.HandleFunc("/stun/wait", func(_ http.ResponseWriter, r *http.Request) { // holds up the end of loading
		select {
		case <-st.home:
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	})
	socket := lab.Must(w.site.host.ListenUDP(portSTUN))(t)
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			st.mu.Lock()
			st.asked = append(st.asked, from.Addr().Unmap())
			st.mu.Unlock()
			if n >= 20 {
				_, _ = socket.WriteToUDPAddrPort(bound(b[:20], from), from)
			}
		}
	}()
	return st
}

// bound is the answer to a Binding request: where it came from (RFC 8489, sections 14.2 and 5).
func bound(request []byte, from netip.AddrPort) []byte {
	addr, family := from.Addr().Unmap().AsSlice(), byte(1)
	if len(addr) == 16 {
		family = 2
	}
	value := append([]byte{0, family}, binary.BigEndian.AppendUint16(nil, from.Port()^0x2112)...)
	for i, b := range addr {
		value = append(value, b^request[4+i])
	}
	attribute := binary.BigEndian.AppendUint16([]byte{0, 0x20}, uint16(len(value)))
	answer := binary.BigEndian.AppendUint16([]byte{1, 1}, uint16(len(attribute)+len(value)))
	return append(append(append(answer, request[4:20]...), attribute...), value...)
}

// browsers open the page that looks for their addresses.
func browsers() []program {
	page := func(*wild, string) string { return "greetings" }
	return []program{
		{name: "chromium", needs: "chromium-headless-shell", want: page, run: func(w *wild, host string) *internet.Program {
			return w.Client.Program("chromium-headless-shell", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
				"--user-data-dir="+w.Dir+"/chromium", "--ignore-certificate-errors", "--timeout=60000", "--dump-dom", "https://"+host+"/stun/")
		}},
		{name: "firefox", needs: "firefox-esr", want: page, run: func(w *wild, host string) *internet.Program {
			return w.Client.Program("python3", lab.Firefox("firefox", "https://"+host+"/stun/")...)
		}},
	}
}

// A browser has a resolver, guesses and services of its own, and WebRTC, which is there to find a way around what stands
// before the network. Its channel leads through a hop over TLS that carries no datagrams.
func TestExec_ABrowserTellsAPageNothingOfItsHost(t *testing.T) {
	t.Parallel()
	for _, p := range browsers() {
		t.Run(p.name, func(t *testing.T) {
			p.require(t)
			held := false
			t.Run("control", func(t *testing.T) {
				w := newWild(t, internet.Dual)
				st := w.serveSTUN(t)
				p.call(t, w, "")
				e := w.Gather(t, internet.Result{})
				leaks := strings.Join(w.Leaks(e), "\n")
				for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
					if !strings.Contains(leaks, want) {
						t.Errorf("INVALID: a leak went unseen: nothing says %q", want)
					}
				}
				if len(st.asked) == 0 || !tells(st.found, w.Client) {
					t.Errorf("INVALID: the page did not learn the address: the server was asked by %v, and it found\n%s", st.asked, st.found)
				}
				held = !t.Failed()
			})
			if !held {
				t.Fatal("INVALID: the control did not hold, so this case proves nothing")
			}
			w := newWild(t, internet.Dual)
			st := w.serveSTUN(t)
			j := &journey{kinds: []hopKind{squidTLS()}, byName: true, resolve: here}
			j.arrange(t, w.Scene)
			w.Readers = nil
			p.call(t, w, j.config(w.Scene))
			e := w.Gather(t, internet.Result{})
			for _, leak := range w.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			if len(st.asked) > 0 || tells(st.found, w.Client) || st.found == "" {
				t.Errorf("the server was asked by %v, and the page found\n%s", st.asked, st.found)
			}
		})
	}
}

// tells says whether a host's address is in candidates.
func tells(found string, h *internet.Host) bool {
	for _, a := range h.Addrs() {
		if strings.Contains(found, " "+a.String()+" ") {
			return true
		}
	}
	return false
}
