// Package zones makes zones that real tools signed, ldns and BIND, with whatever may be wrong about them, as files that a
// real server serves.
//
// It promises that the chain from the root down is whole except where a zone says how it is broken. It opens no socket.
package zones

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/lab"
)

// Signer is a tool that signs.
type Signer string

// The signers.
const (
	LDNS Signer = "ldns"
	BIND Signer = "BIND"
)

// Denial is how a zone proves that something is not there.
type Denial string

// The kinds of proof.
const (
	NSEC   Denial = "NSEC"
	NSEC3  Denial = "NSEC3"
	OptOut Denial = "NSEC3 opt-out" // what it leaves out is not proven (RFC 5155, section 6)
)

// Zone is one zone to make. Only Apex is required; without Algorithm it is not signed.
type Zone struct {
	Apex       string // with the dot at its end
	Algorithm  string // as the tools write it, such as ED25519
	Denial     Denial // empty: NSEC
	Iterations int    // of NSEC3
	Signer     Signer // empty: LDNS
	Records    string // beside those of the apex, which are added; relative names

	From, Until time.Time // of the signatures; zero: a day before now, ten days after

	// NoDS leaves the delegation without a DS record; OtherDS gives it that of a key which the zone does not have.
	NoDS, OtherDS bool
	// SecondKSK adds a second key signing key, which signs the keys beside the first. ThirdParty signs all but the keys
	// with a key that the zone does not publish.
	SecondKSK, ThirdParty bool
	// Spoil changes the lines of the signed zone, one record each.
	Spoil func(lines []string) []string
}

// World is a set of zones down from the root.
type World struct {
	Dir    string
	Anchor string            // the DS record of the root
	Key    string            // the DNSKEY record of the root's key signing key
	Files  map[string]string // by apex

	t       testing.TB
	address string
}

// Tools are the programs that make zones.
var Tools = []string{"ldns-keygen", "ldns-signzone", "dnssec-keygen", "dnssec-signzone"}

// Make makes zones; the root must be among them, and is signed. Every zone has one name server, at an address.
func Make(t testing.TB, address string, list []Zone) *World {
	t.Helper()
	lab.Need(t, Tools...)
	w := &World{Dir: t.TempDir(), Files: map[string]string{}, t: t, address: address}
	list = slices.Clone(list)
	// From the leaves up: a parent signs the DS records of its children.
	slices.SortStableFunc(list, func(a, b Zone) int { return depth(b.Apex) - depth(a.Apex) })
	for i, z := range list {
		ds := w.make(i, z)
		parent := -1
		for j := i + 1; j < len(list); j++ {
			if z.Apex != list[j].Apex && (list[j].Apex == "." || strings.HasSuffix(z.Apex, "."+list[j].Apex)) {
				parent = j
				break
			}
		}
		if parent >= 0 {
			list[parent].Records += fmt.Sprintf("%s NS ns.%s\nns.%s A %s\n%s\n", z.Apex, z.Apex, z.Apex, address, ds)
		}
	}
	if w.Anchor == "" {
		t.Fatal("the root is not among the zones, or not signed")
	}
	return w
}

func depth(apex string) int {
	if apex == "." {
		return 0
	}
	return strings.Count(apex, ".")
}

// make makes one zone, and gives the DS records for its parent.
func (w *World) make(number int, z Zone) (ds string) {
	w.t.Helper()
	dir := filepath.Join(w.Dir, fmt.Sprint(number))
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	server := "ns." + strings.TrimPrefix(z.Apex, ".")
	text := fmt.Sprintf("$ORIGIN %s\n$TTL 3600\n@ SOA %s host.%s 1 7200 3600 1209600 300\n@ NS %s\n%s A %s\n%s",
		z.Apex, server, strings.TrimPrefix(z.Apex, "."), server, server, w.address, strings.TrimPrefix(z.Records, "\n"))
	w.write(dir, "zone", text)
	w.Files[z.Apex] = filepath.Join(dir, "zone")
	if z.Algorithm == "" {
		return ""
	}
	now := time.Now().UTC()
	if z.From.IsZero() {
		z.From = now.Add(-24 * time.Hour)
	}
	if z.Until.IsZero() {
		z.Until = now.Add(10 * 24 * time.Hour)
	}
	sign := w.signLDNS
	if z.Signer == BIND {
		sign = w.signBIND
	}
	ds = sign(dir, z)
	w.Files[z.Apex] = filepath.Join(dir, "out")
	if z.Spoil != nil {
		lines := strings.Split(w.read(dir, "out"), "\n")
		w.write(dir, "out", strings.Join(z.Spoil(lines), "\n"))
	}
	switch {
	case z.NoDS:
		return ""
	case z.OtherDS:
		ds = w.read(dir, w.run(dir, "ldns-keygen", "-k", "-a", z.Algorithm, z.Apex)+".ds")
	}
	if z.Apex == "." {
		w.Anchor = strings.Join(strings.Fields(strings.Split(ds, "\n")[0]), " ")
	}
	return ds
}

const stamp = "20060102150405"

func (w *World) signLDNS(dir string, z Zone) string {
	key := func(flags ...string) string {
		return w.run(dir, append(append([]string{"ldns-keygen"}, flags...), "-a", z.Algorithm, z.Apex)...)
	}
	ksk := key("-k")
	ds := w.read(dir, ksk+".ds")
	if z.Apex == "." {
		w.Key = strings.Join(strings.Fields(strings.Split(w.read(dir, ksk+".key"), " ;")[0]), " ")
	}
	keys := []string{ksk}
	args := []string{"ldns-signzone", "-i", z.From.UTC().Format(stamp), "-e", z.Until.UTC().Format(stamp), "-f", "out"}
	if z.SecondKSK {
		keys = append(keys, key("-k"))
	}
	zsk := key()
	if z.ThirdParty { // the zone has another key than the one that signs
		w.write(dir, "zone", w.read(dir, "zone")+w.read(dir, ksk+".key")+w.read(dir, zsk+".key"))
		zsk = key()
		args = append(args, "-d")
	}
	if z.Denial == NSEC3 || z.Denial == OptOut {
		args = append(args, "-n", "-t", fmt.Sprint(z.Iterations), "-s", "ABCD")
	}
	if z.Denial == OptOut {
		args = append(args, "-p")
	}
	w.run(dir, append(append(args, "zone", zsk), keys...)...)
	return ds
}

func (w *World) signBIND(dir string, z Zone) string {
	if z.SecondKSK || z.ThirdParty || z.Apex == "." {
		w.t.Fatalf("%s: ldns does that here", z.Apex)
	}
	w.run(dir, "dnssec-keygen", "-q", "-f", "KSK", "-a", z.Algorithm, z.Apex)
	w.run(dir, "dnssec-keygen", "-q", "-a", z.Algorithm, z.Apex)
	args := []string{
		"dnssec-signzone", "-S", "-P", "-q", "-O", "full", "-s", z.From.UTC().Format(stamp), "-e", z.Until.UTC().Format(stamp),
		"-o", z.Apex, "-f", "out",
	}
	if z.Denial == NSEC3 || z.Denial == OptOut {
		args = append(args, "-3", "AABB", "-H", fmt.Sprint(z.Iterations))
	}
	if z.Denial == OptOut {
		args = append(args, "-A")
	}
	w.run(dir, append(args, "zone")...)
	return w.read(dir, "dsset-"+z.Apex)
}

// run runs a tool in a directory, and gives what it printed.
func (w *World) run(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (w *World) read(dir, name string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *World) write(dir, name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// Without is a Spoil that takes records out: those of a line that has all of these as words.
func Without(words ...string) func([]string) []string {
	return func(lines []string) []string {
		return slices.DeleteFunc(lines, func(line string) bool { return hasWords(line, words) })
	}
}

// Replaced is a Spoil that changes a text in records: in those whose line has all of these as words.
func Replaced(old, next string, words ...string) func([]string) []string {
	return func(lines []string) []string {
		for i, line := range lines {
			if hasWords(line, words) {
				lines[i] = strings.Replace(line, old, next, 1)
			}
		}
		return lines
	}
}

// Both is one Spoil after the other.
func Both(first, second func([]string) []string) func([]string) []string {
	return func(lines []string) []string { return second(first(lines)) }
}

func hasWords(line string, words []string) bool {
	fields := strings.Fields(line)
	for _, w := range words {
		if !slices.Contains(fields, w) {
			return false
		}
	}
	return len(fields) > 0
}

// NSD gives a configuration of nsd that serves the zones at addresses of a port, each as nsd.conf wants it.
func (w *World) NSD(port int, addresses ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: %q\n  xfrdfile: \"\"\n  zonesdir: %q\n  server-count: 1\n  port: %d\n", w.Dir+"/zones", w.Dir, port)
	for _, a := range addresses {
		fmt.Fprintf(&b, "  ip-address: %s\n", a)
	}
	b.WriteString("remote-control:\n  control-enable: no\n")
	for _, apex := range slices.Sorted(maps.Keys(w.Files)) {
		fmt.Fprintf(&b, "zone:\n  name: %q\n  zonefile: %q\n", apex, w.Files[apex])
	}
	path := filepath.Join(w.Dir, "nsd.conf")
	w.write(w.Dir, "nsd.conf", b.String())
	return path
}
