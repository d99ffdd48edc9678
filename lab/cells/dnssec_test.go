package cells

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
	"watertight/lab/zones"
	"watertight/state"
)

// Addresses that somebody put into a zone after it was signed.
const forged4, forged6 = "192.0.2.66", "2001:db8::66"

// signedNames are names of a scene beside its canary, each a zone of its own: what is wrong with them.
var signedNames = []struct {
	prefix string
	ede    string // of one who validates
	fault  func(z *zones.Zone, origin *internet.Origin)
}{
	{"bogus", "EDE: 6 (DNSSEC Bogus)", func(z *zones.Zone, origin *internet.Origin) {
		four, six := origin.Addr4.String(), origin.Addr6.String()
		z.Spoil = zones.Both(zones.Replaced(four, forged4, "A", four), zones.Replaced(six, forged6, "AAAA", six))
	}},
	{"expired", "EDE: 7 (Signature Expired)", func(z *zones.Zone, _ *internet.Origin) {
		z.From, z.Until = time.Now().Add(-20*24*time.Hour), time.Now().Add(-10*24*time.Hour)
	}},
	{"stripped", "EDE: 10 (RRSIGs Missing)", func(z *zones.Zone, _ *internet.Origin) {
		z.Spoil = zones.Both(zones.Without("RRSIG", "A"), zones.Without("RRSIG", "AAAA"))
	}},
	{"other", "EDE: 9 (DNSKEY Missing)", func(z *zones.Zone, _ *internet.Origin) { z.OtherDS = true }},
	{"plain", "", func(z *zones.Zone, _ *internet.Origin) { z.Algorithm = "" }},
}

// signing is an internet whose names are signed: real zones, served by nsd, which the scene's resolver asks.
type signing struct{ anchor string }

// arrange makes the zones down from the root. The scene's own authority has the same addresses, and keeps its log, so
// that a leak succeeds.
func (g *signing) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	var addresses string
	for _, a := range s.Origin.Addrs() {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		addresses += fmt.Sprintf("NAME %s %s\n", kind, a)
	}
	at := func(name string) string { return strings.ReplaceAll(addresses, "NAME", name) }
	const algorithm = "ECDSAP256SHA256" // so that everything fits into a datagram
	list := []zones.Zone{
		{Apex: ".", Algorithm: algorithm},
		{Apex: "net.", Algorithm: algorithm, Denial: zones.OptOut, Signer: zones.BIND},
		{Apex: "example.net.", Algorithm: algorithm, Denial: zones.NSEC3},
		{Apex: lab.Zone + ".", Algorithm: algorithm, Records: at("*")},
	}
	for _, n := range signedNames {
		z := zones.Zone{Apex: other(s, n.prefix) + ".", Algorithm: algorithm, Records: at("@")}
		n.fault(&z, s.Origin)
		list = append(list, z)
	}
	h := lab.Must(s.AddHost("signed"))(t)
	w := zones.Make(t, h.Addr4.String(), list)
	g.anchor = w.Anchor
	servers.Zones(t, h, w)
	s.Resolver.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		if q.Type == dnswire.A || q.Type == dnswire.AAAA {
			s.Resolver.Recurse(ctx, q)
		}
		b, err := s.Resolver.Ask(netip.AddrPortFrom(h.Addr4, servers.PortDNS), q.Raw)
		if err != nil {
			return q.Send(dnswire.Reply{RCode: dnswire.ServFail})
		}
		return dnstest.Reply{Wire: b}
	})
}

// config is a channel that validates.
func (g *signing) config(mode string, via transport) func(*lab.Scene) string {
	return func(s *lab.Scene) string {
		via.permit(s)
		return fmt.Sprintf("channels:\n  direct: {resolver: {timeout: 5s, dnssec: %s, trust_anchors: [%q], upstreams: [%s]}}\n", mode, g.anchor, via.written(s, ""))
	}
}

// TestDNSSEC plays channels that validate, over an encrypted resolver which passes on what real zones say. What is asked
// for the chain goes where the question went, and nowhere else.
func TestDNSSEC(t *testing.T) {
	t.Parallel()
	lab.Need(t, append([]string{"nsd", "dig"}, zones.Tools...)...)
	for _, mode := range []string{"validate", "require-secure"} {
		for _, via := range transports {
			if mode == "require-secure" && via.name != "dot" {
				continue
			}
			var g signing
			play(t, "A9/"+mode+"/"+via.name, lab.Cell{
				Arrange: g.arrange,
				Start:   func(t testing.TB, s *lab.Scene) string { return withDoor(g.config(mode, via))(t, s) },
				After:   func(t testing.TB, s *lab.Scene) { signedAnswers(t, s, mode) },
			})
		}
	}
	t.Run("A9/a chain that leaks is caught", leakingChain)
}

// signedAnswers asks for every name at both doors.
func signedAnswers(t testing.TB, s *lab.Scene, mode string) {
	t.Helper()
	a := s.Origin.Addr4.String()
	good := dig(t, s, other(s, "good"), "A", "+dnssec")
	told(t, good, "status: NOERROR", a, "RRSIG")
	if !authentic(good) {
		t.Errorf("an answer that is secure is not said to be:\n%s", good.Text())
	}
	for _, n := range signedNames {
		host, ede := other(s, n.prefix), n.ede
		if ede == "" && mode == "require-secure" {
			ede = "EDE: 10 (RRSIGs Missing)"
		}
		r := dig(t, s, host, "A")
		if ede == "" { // its owner does not sign
			told(t, r, "status: NOERROR", a)
			if authentic(r) {
				t.Errorf("%s is said to be secure:\n%s", host, r.Text())
			}
			served(t, s, host)
			continue
		}
		told(t, r, "status: SERVFAIL", ede, "DNS_BOGUS")
		if strings.Contains(r.Text(), a) || strings.Contains(r.Text(), forged4) {
			t.Errorf("%s: the answer is given all the same:\n%s", host, r.Text())
		}
		refused(t, s, host, "DNS_BOGUS")
		status, header, body := connect(t, s, host)
		if status != http.StatusBadGateway || !strings.HasPrefix(header, "watertight; error=dns_error") || !strings.Contains(body, `"error":"DNS_BOGUS"`) {
			t.Errorf("%s: %d, Proxy-Status: %s\n%s", host, status, header, body)
		}
	}
	for name, kind := range map[string]dnswire.Type{"": dnswire.DNSKEY, "net": dnswire.DS, "example.net": dnswire.DNSKEY, lab.Zone: dnswire.DS, other(s, "expired"): dnswire.DNSKEY} {
		if s.Resolver.Count(name, kind) == 0 {
			t.Errorf("the channel's resolver was not asked for the %v of %q: who knows it?", kind, name)
		}
	}
	// How far the keys of the root have come is kept, for this user alone.
	await(t, "the keys of the root to be kept", func() bool { return len(kept(t, s, "anchors-direct-")) == 1 })
	for _, path := range append(kept(t, s, "anchors-direct-"), kept(t, s, "clock")...) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// authentic says whether dig printed the AD bit.
func authentic(r internet.Result) bool {
	_, flags, _ := strings.Cut(r.Text(), ";; flags:")
	flags, _, _ = strings.Cut(flags, ";")
	return slices.Contains(strings.Fields(flags), "ad")
}

// kept gives what the program keeps under a name that begins so, in the home directory of its internet.
func kept(t testing.TB, s *lab.Scene, prefix string) []string {
	t.Helper()
	return lab.Must(filepath.Glob(filepath.Join(stateOf(s), prefix+"*")))(t)
}

func stateOf(s *lab.Scene) string { return filepath.Join(s.Dir, ".local", "state", "watertight") }

// connect asks the proxy for a tunnel, and gives what it refuses it with.
func connect(t testing.TB, s *lab.Scene, host string) (status int, header, body string) {
	t.Helper()
	conn := lab.Must(s.Client.Dial(t.Context(), netip.MustParseAddrPort(lab.ProxyAddress)))(t)
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host)
	response := lab.Must(http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect}))(t)
	defer response.Body.Close()
	text := lab.Must(io.ReadAll(response.Body))(t)
	return response.StatusCode, response.Header.Get("Proxy-Status"), string(text)
}

// leakingChain asks for the keys of a canary as a validator does that is not held by its channel: of the provider.
func leakingChain(t *testing.T) {
	for _, kind := range []string{"DNSKEY", "DS"} {
		s := lab.NewScene(t, internet.Dual)
		if err := s.Client.AwaitLink(t.Context()); err != nil {
			t.Fatal(err)
		}
		server := s.Client.Nameservers()[0].String()
		leaks := strings.Join(s.Leaks(s.Gather(t, lab.Run(t, s.Client.Program("dig", "@"+server, "+dnssec", "+tries=1", s.Canary, kind)))), "\n")
		for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
			if !strings.Contains(leaks, want) {
				t.Errorf("%s: a leak went unseen: nothing says %q; what was said:\n%s", kind, want, leaks)
			}
		}
	}
}

// behind is a clock that says less than what was known when the program ran last.
func behind(config func(*lab.Scene) string) lab.Cell {
	return lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			d := lab.Must(state.New(stateOf(s)))(t)
			text := fmt.Sprintf(`{"passed":%q}`, time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339))
			lab.Must(0, d.Write("clock", []byte(text)))(t)
		},
		Start: new(running).unready(config), Refused: "(NOT_READY)",
		After: func(t testing.TB, s *lab.Scene) {
			status, text := admin(t, s, "/readyz")
			if status != "503" || !strings.Contains(text, "the clock says") {
				t.Errorf("%s: %s", status, text)
			}
			if n := s.Resolver.Conns(); n != 0 {
				t.Errorf("the resolver was reached %d times", n)
			}
		},
	}
}
