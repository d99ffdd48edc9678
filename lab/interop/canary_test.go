package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/canary"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
	visits "watertight/visit"
)

const canaryZone = "canary.example.net"

// canaryWorld is an internet with a canary, to which the root delegates its zone.
type canaryWorld struct {
	*internet.Internet
	host, root *internet.Host
	dns        *canary.DNS
	log        *canary.Log
	ca         string // the file of who certifies its DNS over TLS
}

func newCanaryWorld(t *testing.T) *canaryWorld {
	t.Helper()
	w := &canaryWorld{Internet: lab.New(t, internet.Dual), log: canary.NewLog(canary.LogOptions{Now: time.Now, Passed: canary.Stopwatch()})}
	w.host, w.root = lab.Must(w.AddHost("canary"))(t), lab.Must(w.AddHost("root"))(t)
	key, _, err := canary.Key(filepath.Join(t.TempDir(), "zone.key"))
	must(t, err)
	w.dns = lab.Must(canary.NewDNS(canary.Options{
		Zone: canaryZone, Addresses: w.host.Addrs(), Servers: []canary.Server{{Name: "ns1." + canaryZone, Addresses: w.host.Addrs()}},
		Secure: true, Log: w.log, Networks: canary.Nowhere{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
	}, key))(t)
	w.serve(t)
	servers.Root(t, w.root, w.dns.Delegation()...)
	return w
}

// serve serves the canary by UDP, TCP and TLS at each of its addresses.
func (w *canaryWorld) serve(t *testing.T) {
	t.Helper()
	cert := w.CA.Issue([]string{"ns1." + canaryZone}, w.host.Addrs())
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(w.ca, w.CA.PEM(), 0o600))
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(serve func() error) {
		running.Go(func() {
			if err := serve(); err != nil {
				t.Error(err)
			}
		})
	}
	conn := lab.Must(w.host.ListenUDP(servers.PortDNS))(t)
	plain := lab.Must(w.host.Listen(servers.PortDNS))(t).(*net.TCPListener)
	secure := lab.Must(w.host.Listen(servers.PortDoT))(t).(*net.TCPListener)
	run(func() error { return w.dns.ServeUDP(ctx, conn) })
	run(func() error { return w.dns.ServeTCP(ctx, plain) })
	run(func() error { return w.dns.ServeTLS(ctx, secure, func() *tls.Config { return config }) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// digs lets a program ask on a host, and gives what it wrote.
func digs(t testing.TB, h *internet.Host, program string, args ...string) string {
	t.Helper()
	return lab.Run(t, h.Program(program, args...)).Text()
}

func TestCanary_KnowsTheResolversOfOthers(t *testing.T) {
	lab.Inside(t)
	lab.Need(t, "dig", "nsd")
	w := newCanaryWorld(t)
	for i, r := range []struct {
		name  string
		start func(testing.TB, *internet.Host, servers.Recursion) *internet.Process
		check func(t *testing.T, seen visits.Seen)
	}{
		{name: "unbound", start: servers.RecursiveUnbound, check: wantMinimisedAndSubnet},
		{name: "BIND", start: servers.RecursiveBIND, check: wantMinimisedAndCookie},
		{name: "knot-resolver", start: servers.RecursiveKnotResolver, check: wantMixedCase},
	} {
		t.Run(r.name, func(t *testing.T) {
			h := lab.Must(w.AddHost(fmt.Sprintf("resolver%d", i)))(t)
			r.start(t, h, servers.Recursion{Root: w.root, Anchor: w.dns.Zone().DS[0], Subnet: w.host})
			w.visit(t, h, r.check)
		})
	}
}

// visit asks the resolver of a host for what there is, and looks at what the canary saw.
func (w *canaryWorld) visit(t *testing.T, h *internet.Host, check func(*testing.T, visits.Seen)) {
	t.Helper()
	label := visits.NewLabel()
	for _, c := range []struct {
		name, typ string
		status    string
		want      string // in the answer
		ad        bool
	}{
		{"deep.er." + visits.Name(label, visits.Plain, canaryZone), "A", "NOERROR", w.host.Addr4.String(), true},
		{visits.Name(label, visits.Plain, canaryZone), "HTTPS", "NOERROR", "ipv4hint=" + w.host.Addr4.String(), true},
		{visits.Name(label, visits.V6, canaryZone), "AAAA", "NOERROR", w.host.Addr6.String(), true},
		{visits.Name(label, visits.V6, canaryZone), "A", "NOERROR", "ANSWER: 0", true},
		{visits.Name(label, visits.V4, canaryZone), "A", "NOERROR", w.host.Addr4.String(), true},
		{visits.Name(label, visits.Short, canaryZone), "A", "NOERROR", w.host.Addr4.String(), true},
		{visits.Name(label, visits.TCP, canaryZone), "A", "NOERROR", w.host.Addr4.String(), true},
		{visits.Name(label, visits.Large, canaryZone), "TXT", "NOERROR", "ANSWER: 13", true},
		{visits.Name(label, visits.Nxdomain, canaryZone), "A", "NXDOMAIN", "ANSWER: 0", true},
		{"www." + canaryZone, "A", "NOERROR", "ANSWER: 0", true}, // compact denial, to who does not know it
		{visits.Name(label, visits.Servfail, canaryZone), "A", "SERVFAIL", "ANSWER: 0", false},
		{visits.Name(label, visits.Refused, canaryZone), "A", "SERVFAIL", "ANSWER: 0", false},
		{visits.Name(label, visits.Bogus, canaryZone), "A", "SERVFAIL", "ANSWER: 0", false},
		{"whoami." + canaryZone, "TXT", "NOERROR", "whoami." + canaryZone, true},
	} {
		text := digs(t, h, "dig", "@127.0.0.1", "+tries=1", "+timeout=15", "+dnssec", c.name, c.typ)
		_, flags, _ := strings.Cut(text, ";; flags: ")
		flags, _, _ = strings.Cut(flags, ";")
		if !strings.Contains(text, "status: "+c.status+",") || !strings.Contains(text, c.want) || slices.Contains(strings.Fields(flags), "ad") != c.ad {
			t.Errorf("%s %s: want %s, %q and ad %t:\n%s", c.name, c.typ, c.status, c.want, c.ad, text)
		}
	}
	me := strings.Trim(strings.TrimSpace(digs(t, h, "dig", "@127.0.0.1", "+tries=1", "+timeout=15", "+short", "whoami."+canaryZone, "TXT")), `"`)
	if a, err := netip.ParseAddr(me); err != nil || !h.Has(a) {
		t.Errorf("whoami says %q", me)
	}
	seen, _ := w.log.Seen(label)
	if len(seen.Queries) < 12 {
		t.Errorf("%d questions", len(seen.Queries))
	}
	over := map[string]bool{}
	for _, q := range seen.Queries {
		if !h.Has(q.From.Addr()) || !q.DNSSEC || q.Size == 0 {
			t.Errorf("a question that is not the resolver's: %+v", q)
		}
		over[q.Over] = true
	}
	if !over["udp"] || !over["tcp"] {
		t.Errorf("over %v", over)
	}
	check(t, seen)
}

// anyQuery says whether a question is so.
func anyQuery(seen visits.Seen, so func(visits.Query) bool) bool {
	return slices.ContainsFunc(seen.Queries, so)
}

func wantMinimisedAndSubnet(t *testing.T, seen visits.Seen) {
	wantMinimised(t, seen)
	if !anyQuery(seen, func(q visits.Query) bool { return q.Subnet == "127.0.0.0/24" }) {
		t.Errorf("no client subnet was seen: %+v", seen)
	}
}

func wantMinimised(t *testing.T, seen visits.Seen) {
	if !seen.Minimised {
		t.Errorf("no minimised question was seen: %+v", seen)
	}
}

func wantMinimisedAndCookie(t *testing.T, seen visits.Seen) {
	wantMinimised(t, seen)
	if !anyQuery(seen, func(q visits.Query) bool { return q.Cookie }) {
		t.Errorf("no cookie was seen: %+v", seen)
	}
}

// wantMixedCase is for Knot Resolver, which minimises names down to the zone alone.
func wantMixedCase(t *testing.T, seen visits.Seen) {
	if !anyQuery(seen, func(q visits.Query) bool { return q.MixedCase }) {
		t.Errorf("no mixed case was seen: %+v", seen)
	}
}

// forge sends questions for fresh names, each from an address that nobody has, in the network of whom they are for: its kernel
// looks for each as a neighbour, and keeps what is sent to them until it gives up.
const forge = `
import os, socket, struct, sys
to, count = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for i in range(count):
    label = bytes(b"abcdefghijklmnopqrstuvwxyz234567"[b & 31] for b in os.urandom(20))
    question = b"\x14" + label + b"\x06canary\x07example\x03net\0" + struct.pack(">HH", 1, 1)
    message = struct.pack(">6H", i, 0, 1, 0, 0, 1) + question + b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"
    source = bytes([10, 99, 1 + i // 250, 1 + i % 250])
    s.sendto(struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(message), 0, 0, 64, 17, 0) + source + socket.inet_aton(to)
        + struct.pack(">4H", 4000, 53, 8 + len(message), 0) + message, (to, 0))
`

func TestCanary_AnswersWhileNobodyTakesWhatItSends(t *testing.T) {
	lab.Inside(t)
	lab.Need(t, "python3", "dig", "ip")
	w := newCanaryWorld(t)
	if r := lab.Run(t, w.host.Program("ip", "address", "add", "10.99.0.1/16", "dev", "uplink")); r.Code != 0 {
		t.Fatal(r.Text())
	}
	h := lab.Must(w.AddHost("visitor"))(t)
	const forged = 5000
	if r := lab.Run(t, h.Program("python3", "-I", "-c", forge, w.host.Addr4.String(), fmt.Sprint(forged))); r.Code != 0 {
		t.Fatal(r.Text())
	}
	// What the kernel has taken it keeps for three seconds, and meanwhile others may get nothing.
	text := digs(t, h, "dig", "@"+w.host.Addr4.String(), "+norec", "+tries=15", "+timeout=1", visits.Name(visits.NewLabel(), visits.Plain, canaryZone), "A")
	if !strings.Contains(text, "status: NOERROR") {
		t.Errorf("nobody is answered:\n%s", text)
	}
	if n := runtime.NumGoroutine(); n > 1000 {
		t.Errorf("%d goroutines", n)
	}
}

func TestCanary_AnswersTheToolsOfOthers(t *testing.T) {
	lab.Inside(t)
	lab.Need(t, "dig", "kdig", "delv")
	w := newCanaryWorld(t)
	h := lab.Must(w.AddHost("visitor"))(t)
	label := visits.NewLabel()
	status := map[visits.Branch]string{visits.Servfail: "SERVFAIL", visits.Refused: "REFUSED", visits.Nxdomain: "NXDOMAIN"}
	secure := []string{"+tls", "+tls-ca=" + w.ca, "+tls-hostname=ns1." + canaryZone}
	v4, v6 := "@"+w.host.Addr4.String(), "@"+w.host.Addr6.String()
	for _, branch := range visits.Branches {
		if branch == visits.Silent || branch == visits.Slow {
			continue
		}
		want := status[branch]
		if want == "" {
			want = "NOERROR"
		}
		hows := [][]string{{"dig", v4}, append([]string{"kdig", v6}, secure...)}
		if branch == visits.Plain || branch == visits.Large {
			hows = append(hows, []string{"dig", v6, "+tcp"}, []string{"kdig", v4, "+edns"})
		}
		for _, how := range hows {
			text := digs(t, h, how[0], append(how[1:], "+norec", "+dnssec", visits.Name(label, branch, canaryZone), "TXT")...)
			if !strings.Contains(text, "status: "+want) || want == "NOERROR" && !strings.Contains(text, "RRSIG") {
				t.Errorf("%v: want %s:\n%s", how, want, text)
			}
		}
	}
	seen, _ := w.log.Seen(label)
	over := map[string]int{}
	for _, q := range seen.Queries {
		if h.Has(q.From.Addr()) {
			over[q.Over]++
		}
	}
	if over["tls"] != 10 || over["udp"] < 12 || over["tcp"] < 2+2 { // what is truncated comes again
		t.Errorf("seen over %v", over)
	}
	for option, check := range map[string]func(visits.Query) bool{
		"+subnet=198.51.100.77/24": func(q visits.Query) bool { return q.Subnet == "198.51.100.0/24" },
		"+cookie":                  func(q visits.Query) bool { return q.Cookie },
		"+nocookie":                func(q visits.Query) bool { return !q.Cookie },
		"+bufsize=1410":            func(q visits.Query) bool { return q.Size == 1410 },
		"+noedns":                  func(q visits.Query) bool { return q.Size == 0 },
		"+dnssec":                  func(q visits.Query) bool { return q.DNSSEC },
	} {
		label := visits.NewLabel()
		text := digs(t, h, "dig", "@"+w.host.Addr4.String(), "+norec", option, visits.Name(label, visits.Plain, canaryZone), "AAAA")
		if seen, _ := w.log.Seen(label); len(seen.Queries) != 1 || !check(seen.Queries[0]) {
			t.Errorf("%s: %+v\n%s", option, seen, text)
		}
	}
	w.validate(t, h)
}

// validate has delv check the chain from the record that the zone above has.
func (w *canaryWorld) validate(t *testing.T, h *internet.Host) {
	t.Helper()
	f := strings.Fields(w.dns.Zone().DS[0])
	anchor := filepath.Join(t.TempDir(), "anchor.conf")
	must(t, os.WriteFile(anchor, fmt.Appendf(nil, "trust-anchors { %q static-ds %s %s %s %q; };\n", canaryZone, f[3], f[4], f[5], f[6]), 0o600))
	for _, branch := range []visits.Branch{visits.Plain, visits.V4, visits.Short, visits.TCP, visits.Large, visits.Nxdomain, visits.V6, visits.Bogus} {
		text := digs(t, h, "delv", "-a", anchor, "+root="+canaryZone, "@"+w.host.Addr4.String(), visits.Name(visits.NewLabel(), branch, canaryZone), "A")
		if (branch == visits.Bogus) != strings.Contains(text, "RRSIG failed to verify") || (branch == visits.Bogus) == strings.Contains(text, "fully validated") {
			t.Errorf("%q:\n%s", branch, text)
		}
	}
}
