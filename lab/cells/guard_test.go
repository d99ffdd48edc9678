package cells

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/capture"
	"watertight/guard"
	"watertight/lab"
	"watertight/lab/internet"
)

// guarded arms the guard of the client's host.
func guarded(t testing.TB, s *lab.Scene, allow ...netip.Prefix) *guard.Guard {
	t.Helper()
	g := guard.New(guard.Options{File: filepath.Join(s.Dir, "guard.json")})
	err := s.Client.Do(func() error {
		r := guard.Rules{Mark: ownMark, Allow: allow}
		var err error
		if r.Uplinks, err = guard.Uplinks(); err != nil {
			return err
		}
		if r.Kept, err = guard.Inbound(); err != nil {
			return err
		}
		return g.On(t.Context(), r)
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// look wants to find the guard of the client's host held.
func look(t testing.TB, s *lab.Scene, g *guard.Guard) guard.State {
	t.Helper()
	var state guard.State
	err := s.Client.Do(func() (err error) {
		state, err = g.Look(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// ordinaryWays are what programs do that mean no harm; strangeWays what they would have to mean.
var (
	ordinaryWays = []string{
		"DNS over UDP", "DNS over UDP and IPv6", "DNS over TCP", "TCP fast open", "DNS over TLS", "DNS over HTTPS", "DNS over QUIC", "QUIC", "STUN",
		"mDNS", "mDNS over IPv6", "LLMNR", "NetBIOS", "SSDP", "WPAD by DHCP", "a raw socket", "a packet socket", "a ping", "UDP-Lite", "a bound device", "io_uring",
	}
	strangeWays = []string{
		"fragments", "IP in IP", "GRE", "ESP", "a frame", "a frame of IPv6", "a frame that is claimed to be ARP", "a frame of a VLAN", "a frame of two VLANs",
		"a frame of PPPoE", "a frame of MPLS", "a frame of SNAP", "a frame of DHCP to a stranger", "a tagged frame of DHCP to a stranger", "DHCP to a stranger", "a mark, to a resolver", "a mark that looks passed",
		"a mark that looks wrapped", "a marked ping", "a ping over IPv6", "a source route", "segments", "a broadcast",
		"a multicast", "a multicast of the link", "an answer to nobody",
	}
)

// attempts runs all ways at once, each with a name of its own, and gives those whose name was seen outside.
func attempts(t testing.TB, s *lab.Scene, round string, only ...string) (seen map[string]bool, said string) {
	t.Helper()
	program := filepath.Join(s.Dir, "guard.py")
	lab.Must(0, os.WriteFile(program, lab.Must(os.ReadFile("testdata/guard.py"))(t), 0o644))(t)
	args := []string{"-I", program, s.Client.Addr6.String()}
	tokens := map[string]string{}
	for i, way := range allWays() {
		if only != nil && !slices.Contains(only, way) {
			continue
		}
		tokens[way] = fmt.Sprintf("%s%s%02dx", s.Label, round, i)
		if i < len(strangeWays) {
			args = append(args, way+"="+tokens[way])
		}
	}
	strange := lab.Must(s.Client.Program("python3", args...).Start(t.Context()))(t)
	p := trying(t, s, false)
	for _, way := range ordinaryWays {
		if token, ok := tokens[way]; ok {
			p.Args = append(p.Args, way+"="+token)
		}
	}
	said = lab.Run(t, p).Text() + strange.Wait().Text()
	packets, seen := lab.Must(s.Packets())(t), map[string]bool{}
	for way, token := range tokens {
		seen[way] = len(capture.Search(packets, token)) > 0
	}
	if n := strings.Count(said, "\n"); n < len(tokens) {
		t.Errorf("%d of %d ways ran: %s", n, len(tokens), said)
	}
	return seen, said
}

func allWays() []string { return append(append([]string{}, strangeWays...), ordinaryWays...) }

// strangers are packets that the client's host has sent since a moment, but to those permitted.
func strangers(t testing.TB, s *lab.Scene, since time.Time) (all []capture.Packet) {
	t.Helper()
	for _, p := range capture.Strangers(lab.Must(s.Packets())(t), s.Permitted) {
		if p.Point == "client" && p.Outgoing && p.Time.After(since) {
			all = append(all, p)
		}
	}
	return all
}

// marking has Watertight mark what it sends.
func marking(s *lab.Scene) string {
	return fmt.Sprintf("listen:\n  proxy: %s\n  admin: %s\n  transparent: {address: \"127.0.0.1:8081\", mark: %d}\n%s", lab.ProxyAddress, lab.AdminAddress, ownMark, dot(s))
}

func proxied(s *lab.Scene) *internet.Program {
	return s.Client.Program("curl", "--silent", "--show-error", "--fail", "--max-time", "15", "--cacert", s.CAFile, "--proxy", "http://"+lab.ProxyAddress, "https://"+s.Canary+"/")
}

// TestGuard_NothingOfThisHostsProgramsPasses plays G5 and C2: whatever a program of the host tries, over either family and with root's
// rights, is seen outside without the guard and not with it; Watertight is, until it is killed, and then nothing.
func TestGuard_NothingOfThisHostsProgramsPasses(t *testing.T) {
	t.Parallel()
	lab.Need(t, "python3", "nft", "curl")
	s := lab.NewScene(t, internet.Dual)
	seen, said := attempts(t, s, "a")
	for _, way := range allWays() {
		if !seen[way] {
			t.Errorf("INVALID: %s: it is not seen without the guard: %s", way, said)
		}
	}
	armed := time.Now()
	g := guarded(t, s)
	proxy := lab.StartWatertight(t, s, marking(s))
	succeeds(t, proxied(s))
	holds := func(round string, ways ...string) {
		t.Helper()
		seen, said := attempts(t, s, round, ways...)
		for _, way := range allWays() {
			if seen[way] {
				t.Errorf("LEAK: %s: %s", way, said)
			}
		}
		for _, p := range strangers(t, s, armed) {
			t.Errorf("LEAK: %v", p)
		}
	}
	holds("b")
	proxy.Kill()
	proxy.Wait()
	holds("c", "DNS over UDP", "DNS over TLS", "DNS over HTTPS", "mDNS", "a packet socket")
	if r := lab.Run(t, proxied(s)); r.Code == 0 {
		t.Errorf("INVALID: the proxy is alive: %s", r.Text())
	}
	state := look(t, s, g)
	if c := state.Counters; !state.Held || c.DNS == 0 || c.DoT == 0 || c.LocalNames == 0 || c.Raw == 0 || c.Other == 0 || c.Forwarded != 0 {
		t.Errorf("it is found to be %+v", state)
	}
	// Where the address is one that everybody may reach, these would still say a name, or go on to another address.
	guarded(t, s, netip.MustParsePrefix("8.8.8.8/32"), netip.MustParsePrefix("2001:4860:4860::8888/128"))
	ways := []string{"fragments", "a source route", "segments", "DNS over UDP", "DNS over UDP and IPv6", "DNS over TCP", "a mark, to a resolver", "a packet socket", "a frame of IPv6"}
	seen, said = attempts(t, s, "d", ways...)
	for _, way := range ways {
		if seen[way] {
			t.Errorf("LEAK: to an address that is allowed: %s: %s", way, said)
		}
	}
	if e := s.Gather(t, internet.Result{}); !e.Delivered {
		t.Error("what the proxy sent did not arrive")
	}
}
