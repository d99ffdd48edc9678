package leaktest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// staged is where a row of the catalogue is staged beside the worlds of the leak test, which say their cause themselves, and the lab,
// whose cells do: hosts of the doctor, which it names by its rules, and packets that the observer has to see. why says what stages a
// row that has none of them but the lab.
type staged struct {
	hosts   []string
	packets []string
	why     string
}

const (
	refusedWhenRead = "no configuration has it: it is refused when it is read, which the lab does"
	oneCode         = "it takes other code: there is one place for it, and no host or configuration changes that"
	seenOpen        = "a host has no say in it: the tests of containment see each way open first, and then closed"
)

// stagings has every row of docs/leaks.md.
var stagings = map[string]staged{
	"A1":  {hosts: []string{"UPSTREAM-BOOTSTRAP.others"}},
	"A2":  {hosts: []string{"SELF-RESOLVE.running", "SELF-RESOLVE.this"}},
	"A3":  {hosts: []string{"UPSTREAM-BOOTSTRAP.dnscrypt"}, packets: []string{"a question to the provider", "port 53 of the resolver itself"}},
	"A4":  {why: oneCode},
	"A5":  {hosts: []string{"PROXY-BY-NAME.environment"}, packets: []string{"a name of its own"}},
	"A6":  {},
	"A7":  {why: "a hop says it, and the lab's hops do; what resolves it would be seen as A5 is"},
	"A8":  {why: "a resolver with another key is the lab's; nobody but the two of them sees it"},
	"A9":  {why: "the signed zones and their liars are the lab's; an unsigned answer for a bogus name is B1"},
	"B1":  {hosts: []string{"RESOLVED-FALLBACK.written", "RESOLVED-FALLBACK.builtin", "RESOLV-PUBLIC.second"}},
	"B2":  {why: refusedWhenRead},
	"B3":  {why: refusedWhenRead + ", or by the route that is written"},
	"B4":  {why: refusedWhenRead},
	"B5":  {hosts: []string{"BROWSER-DOH.firefox", "BROWSER-DOH.chromium"}, packets: []string{"port 53", "port 5355", "port 137"}},
	"B6":  {hosts: []string{"PAC-RESOLVES.functions"}},
	"B7":  {},
	"B8":  {hosts: []string{"TIME-SKEW.clock", "TIME-SKEW.build"}},
	"C1":  {hosts: []string{"K8S-STARTORDER.container"}, packets: []string{"a client that is faster than the start"}},
	"C2":  {hosts: []string{"BROWSER-FLAGS.firefox"}, packets: []string{"a client that goes direct while the proxy is gone"}},
	"C3":  {hosts: []string{"RESOLV-DRIFT.since", "NM-DNS.default"}},
	"C4":  {},
	"C5":  {},
	"D1":  {hosts: []string{"CLIENT-DIRECT.quic"}},
	"D2":  {},
	"D3":  {},
	"D4":  {hosts: []string{"UPSTREAM-LOCAL-RESOLVE.others", "UPSTREAM-LOCAL-RESOLVE.proxychains"}, packets: []string{"a log line", "hexadecimal"}},
	"D5":  {hosts: []string{"DNS-DIRECT-LIVE.udp", "DNS-DIRECT-LIVE.doh"}, packets: []string{"encrypted, outside of the channel", "plaintext that never reaches the authority"}},
	"D6":  {hosts: []string{"PAC-RESOLVES.functions"}},
	"D7":  {why: "no name goes anywhere by it: it is a reply at a door, which the lab reads"},
	"D8":  {hosts: []string{"RESOLV-SEARCH.ndots", "K8S-NDOTS.pod"}},
	"D9":  {hosts: []string{"IPV6-GAP.listener", "RESOLV-PUBLIC.rdnss"}, packets: []string{"a question over IPv6"}},
	"D10": {why: "the record's way to a client is the lab's; whoever uses a hint is a client that connects past the proxy (H1)"},
	"E1":  {hosts: []string{"TELEMETRY.programs"}, packets: []string{"a name of its own"}},
	"E2":  {},
	"E3":  {why: "it takes other code: `lint/onedoor/testdata` has it, and each is refused; what runs all the same is found as A2"},
	"E4":  {why: "the lab reads the log and the metrics; a log line that leaves the host is seen in packets (D4)"},
	"F1":  {},
	"F2":  {why: "from afar it looks like a resolver that keeps names longer: the lab sees both sides"},
	"F3":  {},
	"F4":  {why: "sizes are no event: the lab measures them"},
	"F5":  {why: "it is as the configuration says, which `explain` shows"},
	"F6":  {why: "only the resolver or the hop sees it: those of the lab do"},
	"F7":  {},
	"G1":  {hosts: []string{"NSCD-SOCKET.netns", "RESOLVED-SOCKET.netns", "AVAHI-SOCKET.netns"}},
	"G2":  {why: seenOpen},
	"G3":  {why: seenOpen},
	"G4":  {why: seenOpen},
	"G5":  {},
	"G6":  {},
	"G7":  {why: seenOpen},
	"G8":  {hosts: []string{"PRELOAD-ONLY.proxychains", "PRELOAD-ONLY.all"}},
	"G9":  {why: seenOpen},
	"G10": {why: "the tests of containment take away what it needs, and no program starts"},
	"G11": {hosts: []string{"WPAD-ON.running", "BROWSER-FLAGS.webrtc", "RESOLVED-FALLBACK.multicast"}, packets: []string{"multicast DNS", "port 5353"}},
	"G12": {hosts: []string{"KILL-SWITCH.guard-flushed", "KILL-SWITCH.guard-changed"}},
	"H1":  {hosts: []string{"CLIENT-RESOLVED.counted", "ENV-SOCKS5-LOCAL.running"}, packets: []string{"the name in a hello, of a client that resolved elsewhere"}},
	"H2":  {hosts: []string{"CURLRC.socks5", "DOCKER-CLI-PROXIES.none", "NODE-ENV.running"}},
}

var (
	catalogueRow = regexp.MustCompile(`(?m)^\| ([A-H]\d+) \|`)
	labCell      = regexp.MustCompile(`"([A-H]\d+)(?:/[^"]*)?"`)
)

func text(t *testing.T, paths ...string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

// TestEveryRowOfTheCatalogueIsStaged_orItIsSaidWhyNot writes where each cause is staged, and holds that to what is there.
func TestEveryRowOfTheCatalogueIsStaged_orItIsSaidWhyNot(t *testing.T) {
	cells, err := filepath.Glob("../lab/cells/*_test.go")
	if err != nil || len(cells) == 0 {
		t.Fatal(err)
	}
	played := map[string]bool{}
	for _, m := range labCell.FindAllStringSubmatch(text(t, cells...), -1) {
		played[m[1]] = true
	}
	worlds := map[string]int{}
	for _, one := range leaky() {
		worlds[one.cause]++
	}
	packets := text(t, "watch/watch_linux_test.go", "watch/watchown_linux_test.go", "../lab/cells/leakwatch_test.go")
	hosts := text(t, "../docs/doctor.md")
	var b strings.Builder
	b.WriteString("\n| row | worlds | hosts | packets | lab | what else, or why not |\n|---|---|---|---|---|---|\n")
	known := map[string]bool{}
	for _, m := range catalogueRow.FindAllStringSubmatch(text(t, "../docs/leaks.md"), -1) {
		row := m[1]
		known[row] = true
		s, ok := stagings[row]
		if !ok {
			t.Errorf("%s is not among what is staged", row)
		}
		if worlds[row]+len(s.hosts)+len(s.packets) == 0 && s.why == "" {
			t.Errorf("%s is staged nowhere but perhaps in the lab, and nobody says why", row)
		}
		for _, host := range s.hosts {
			rule, _, _ := strings.Cut(host, ".")
			named := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(host) + " \\| .* \\| (`[^|]*" + rule + "[^|]*`) \\| (`[^|]*`) \\|$").FindStringSubmatch(hosts)
			if named == nil || named[1] != named[2] {
				t.Errorf("%s: the doctor has no host %s on which it finds %s", row, host, rule)
			}
		}
		for _, p := range s.packets {
			if !strings.Contains(packets, `"`+p) {
				t.Errorf("%s: nobody sends %q", row, p)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row, count(worlds[row]), code(s.hosts), orElse(strings.Join(s.packets, "; "), "-"), map[bool]string{true: "yes", false: "-"}[played[row]], orElse(s.why, "-"))
	}
	for row := range stagings {
		if !known[row] {
			t.Errorf("%s is staged, and is no row of the catalogue", row)
		}
	}
	for cause := range worlds {
		if !known[cause] {
			t.Errorf("a world leaks by %s, which is no row of the catalogue", cause)
		}
	}
	b.WriteString("\n")
	keepTable(t, "where the causes are staged", b.String())
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %[1]d", n)
}

func code(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return "`" + strings.Join(slices.Clone(list), "`, `") + "`"
}
