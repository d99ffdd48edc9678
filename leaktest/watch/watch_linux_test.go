package watch_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"watertight/contain"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/leaktest/watch"
	"watertight/visit"
)

const (
	isp      = "198.51.100.53"
	resolver = "198.51.100.1:853"
	far      = "198.51.100.80"
	far6     = "[2001:db8:99::80]"
)

func query(t *testing.T, label string) []byte {
	return lab.Must(dnswire.Query(dnswire.Question{Name: label + ".probe.example.net", Type: dnswire.A}, 7, 0))(t)
}

// seeded is a leak.
type seeded struct {
	name string
	leak func(t *testing.T, label string)
	what watch.What
	form watch.Form
	to   string
}

func leaks() []seeded {
	datagram := func(to string, make func(t *testing.T, label string) []byte) func(*testing.T, string) {
		return func(t *testing.T, label string) { send(t, to, make(t, label)) }
	}
	text := func(encode func([]byte) string, before string) func(*testing.T, string) []byte {
		return func(_ *testing.T, label string) []byte { return []byte("x" + encode([]byte(before+label+" and more"))) }
	}
	upper := func(t *testing.T, label string) []byte { return query(t, strings.ToUpper(label)) }
	port := func(to string) func(*testing.T, string) {
		return datagram(to, func(*testing.T, string) []byte { return []byte("?") })
	}
	stream := func(to string) func(*testing.T, string) {
		return func(t *testing.T, _ string) { speak(t, to, []byte("?")) }
	}
	all := []seeded{
		{"a question to the provider", datagram(isp+":53", query), watch.Label, watch.Wire, isp + ":53"},
		{"a question in capitals", datagram("198.51.100.54:53", upper), watch.Label, watch.Wire, "198.51.100.54:53"},
		{"a question on a port of its own", datagram(far+":5300", query), watch.Label, watch.Wire, far + ":5300"},
		{"a question over IPv6", datagram(far6+":53", query), watch.Label, watch.Wire, far6 + ":53"},
		{"a question to a stub on loopback", datagram("127.0.0.53:53", query), watch.Label, watch.Wire, "127.0.0.53:53"},
		{"multicast DNS", datagram("224.0.0.251:5353", query), watch.Label, watch.Wire, "224.0.0.251:5353"},
		{"a question over TCP", func(t *testing.T, label string) {
			q := query(t, label)
			speak(t, "127.0.0.9:53", append([]byte{0, byte(len(q))}, q...))
		}, watch.Label, watch.Wire, "127.0.0.9:53"},
		{"a question over TCP in two segments", func(t *testing.T, label string) {
			q := query(t, label)
			speak(t, "127.0.0.10:53", append([]byte{0, byte(len(q))}, q[:20]...), q[20:])
		}, watch.Label, watch.Wire, "127.0.0.10:53"},
		{"a hello of TLS", func(t *testing.T, label string) {
			speak(t, "127.0.0.9:443", hello(t, label+".probe.example.net"))
		}, watch.Label, watch.SNI, "127.0.0.9:443"},
		{"a hello of TLS in two segments", func(t *testing.T, label string) {
			h := hello(t, label+".probe.example.net")
			at := bytes.Index(h, []byte(label)) + 3
			speak(t, "127.0.0.10:443", h[:at], h[at:])
		}, watch.Label, watch.SNI, "127.0.0.10:443"},
		{"a hello of QUIC", func(t *testing.T, label string) {
			send(t, far+":443", quicHello(t, label+".probe.example.net"))
		}, watch.Label, watch.SNI, far + ":443"},
		{"the host of a request", func(t *testing.T, label string) {
			speak(t, "127.0.0.9:80", []byte("GET / HTTP/1.1\r\nHost: "+label+".probe.example.net\r\n\r\n"))
		}, watch.Label, watch.Host, "127.0.0.9:80"},
		{"the target of CONNECT at another proxy", func(t *testing.T, label string) {
			speak(t, "127.0.0.9:3128", []byte("CONNECT "+label+".probe.example.net:443 HTTP/1.1\r\n\r\n"))
		}, watch.Label, watch.Host, "127.0.0.9:3128"},
		{"a log line", datagram(far+":514", text(func(b []byte) string { return string(b) }, "<14>asked for ")), watch.Label, watch.Text, far + ":514"},
		{"hexadecimal", datagram(far+":1001", text(hex.EncodeToString, "")), watch.Label, watch.Hex, far + ":1001"},
		{"percent-encoding", datagram(far+":1002", text(func(b []byte) string {
			return "%" + strings.Join(strings.Split(hex.EncodeToString(b), ""), "")[:0] + percent(b)
		}, "")), watch.Label, "percent-encoding", far + ":1002"},
		{"the Huffman code of HTTP/2", datagram(far+":1003", func(_ *testing.T, label string) []byte {
			return hpack.AppendHuffmanString(nil, "https://"+label+".net")
		}), watch.Label, "hpack", far + ":1003"},
		{"port 53", port("198.51.100.2:53"), watch.DNS, "", "198.51.100.2:53"},
		{"port 53 over TCP", stream("127.0.0.11:53"), watch.DNS, "", "127.0.0.11:53"},
		{"port 53 of the resolver itself", port("198.51.100.1:53"), watch.DNS, "", "198.51.100.1:53"},
		{"port 853 of another resolver", port("198.51.100.3:853"), watch.DoT, "", "198.51.100.3:853"},
		{"port 853 over TCP", stream("127.0.0.11:853"), watch.DoT, "", "127.0.0.11:853"},
		{"port 5353", port("[ff02::fb%up0]:5353"), watch.MDNS, "", "[ff02::fb]:5353"},
		{"port 5355", port("224.0.0.252:5355"), watch.LLMNR, "", "224.0.0.252:5355"},
		{"port 5355 over TCP", stream("127.0.0.11:5355"), watch.LLMNR, "", "127.0.0.11:5355"},
		{"port 137", port("198.51.100.77:137"), watch.NetBIOS, "", "198.51.100.77:137"},
	}
	for i, before := range []string{"", "a", "ab", "abc", "abcd"} {
		to := far + ":" + strconv.Itoa(2000+i)
		all = append(all, seeded{"base32 behind " + before, datagram(to, text(base32.StdEncoding.EncodeToString, before)), watch.Label, watch.Base32, to})
		if i < 3 {
			to := far + ":" + strconv.Itoa(3000+i)
			all = append(all, seeded{"base64 behind " + before, datagram(to, text(base64.URLEncoding.EncodeToString, before)), watch.Label, watch.Base64, to})
		}
	}
	return all
}

func percent(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteString("%" + hex.EncodeToString([]byte{c}))
	}
	return s.String()
}

func TestWatch_EveryLeakIsSeenAndNamed(t *testing.T) {
	uplinked(t)
	labels := map[string]string{}
	var all []string
	for _, s := range leaks() {
		labels[s.name] = visit.NewLabel()
		all = append(all, labels[s.name])
	}
	var pcap bytes.Buffer
	w := lab.Must(watch.Start(t.Context(), watch.Options{
		Labels: func() []string { return all }, Resolvers: []netip.AddrPort{netip.MustParseAddrPort(resolver)}, PCAP: &pcap,
	}))(t)
	for _, s := range leaks() {
		s.leak(t, labels[s.name])
	}
	seen := lab.Must(w.Stop())(t)
	if seen.Blind != "" || !strings.Contains(strings.Join(seen.Interfaces, " "), "up0") {
		t.Fatalf("it saw %v, and not %q", seen.Interfaces, seen.Blind)
	}
	for _, s := range leaks() {
		label, found := "", false
		if s.what == watch.Label {
			label = labels[s.name]
		}
		for _, one := range seen.Sightings {
			if one.Label == label && one.To.String() == s.to && one.What == s.what && one.Form == s.form {
				found = true
				if wanted := map[bool]string{true: "lo", false: "up0"}[strings.HasPrefix(s.to, "127.")]; one.Interface != wanted && one.Interface != "up1" {
					t.Errorf("%s: seen on %s", s.name, one.Interface)
				}
			}
		}
		if !found {
			t.Errorf("%s: not seen among %+v", s.name, about(seen.Sightings, s.to))
		}
	}
	r := lab.Must(pcapgo.NewNgReader(&pcap, pcapgo.NgReaderOptions{WantMixedLinkType: true}))(t)
	packets := uint64(0)
	for {
		if _, _, err := r.ReadPacketData(); err != nil {
			break
		}
		packets++
	}
	if packets != seen.Packets || seen.PCAPCut {
		t.Errorf("%d of %d packets are in the file", packets, seen.Packets)
	}
}

// about gives the sightings of a destination.
func about(all []watch.Sighting, to string) (found []watch.Sighting) {
	for _, one := range all {
		if one.To.String() == to {
			found = append(found, one)
		}
	}
	return found
}

func TestWatch_WhatIsInItsPlaceIsNoSighting(t *testing.T) {
	uplinked(t)
	label, other := visit.NewLabel(), visit.NewLabel()
	door, dnsDoor, everywhere := netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("127.0.0.1:5353"), netip.MustParseAddrPort("0.0.0.0:8081")
	canary := netip.MustParseAddrPort("127.0.0.20:443")
	w := lab.Must(watch.Start(t.Context(), watch.Options{
		Labels: func() []string { return []string{label} },
		Doors:  func() []netip.AddrPort { return []netip.AddrPort{door, dnsDoor, everywhere} },
		Destinations: func() []netip.AddrPort {
			return []netip.AddrPort{canary, netip.MustParseAddrPort("127.0.0.20:80"), netip.MustParseAddrPort("127.0.0.20:1080")}
		},
		Resolvers: []netip.AddrPort{netip.MustParseAddrPort(resolver), netip.MustParseAddrPort("127.0.0.30:853")},
	}))(t)
	connect := []byte("CONNECT " + label + ".probe.example.net:443 HTTP/1.1\r\n\r\n")
	for _, harmless := range map[string]func(){
		"a request at the door":          func() { speak(t, door.String(), connect) },
		"a request at a door for all":    func() { speak(t, "127.0.0.1:8081", connect) },
		"a request at it by IPv6":        func() { speak(t, "[::1]:8081", connect) },
		"SOCKS at the door":              func() { speak(t, "127.0.0.1:8081", []byte{5, 1, 0}, append([]byte{5, 1, 0, 3, 20}, label...)) },
		"a question at the DNS door":     func() { send(t, dnsDoor.String(), query(t, label)) },
		"DNS over TLS to the resolver":   func() { send(t, resolver, bytes.Repeat([]byte{0x17, 3, 3}, 100)) },
		"the same over TCP":              func() { speak(t, "127.0.0.30:853", hello(t, "dns.example.net")) },
		"DNS over HTTPS to the resolver": func() { send(t, "198.51.100.1:443", bytes.Repeat([]byte{0x40, 9, 7}, 100)) },
		"a hello to the canary":          func() { speak(t, canary.String(), hello(t, label+".probe.example.net")) },
		"a request to the canary": func() {
			speak(t, "127.0.0.20:80", []byte("GET / HTTP/1.1\r\nHost: "+label+".probe.example.net\r\n\r\n"))
		},
		"the name for a proxy that is told names": func() {
			speak(t, "127.0.0.20:1080", []byte{5, 1, 0}, append([]byte{5, 1, 0, 3, 20}, label...))
		},
		"another hello":                      func() { speak(t, "127.0.0.21:443", hello(t, "www.example.net")) },
		"another hello of QUIC":              func() { send(t, far+":443", quicHello(t, "www.example.net")) },
		"another label":                      func() { send(t, far+":5300", query(t, other)) },
		"a part of the label":                func() { send(t, far+":5300", query(t, label[:12])) },
		"the parts of the label apart":       func() { speak(t, "127.0.0.21:80", []byte(label[:10]), []byte(" "), []byte(label[10:])) },
		"the parts in two datagrams":         func() { send(t, far+":5301", []byte(label[:10])); send(t, far+":5301", []byte(label[10:])) },
		"noise":                              func() { send(t, far+":4433", bytes.Repeat([]byte{0xff, 0xfe, 0x80}, 400)) },
		"zeros":                              func() { send(t, far+":4434", make([]byte, 1400)) },
		"nothing":                            func() { send(t, far+":4435", nil) },
		"the port before 53":                 func() { send(t, far+":52", []byte("?")) },
		"time":                               func() { send(t, far+":123", make([]byte, 48)) },
		"port 53 as where it comes from":     func() { speakFrom53(t) },
		"discovery of other things":          func() { send(t, "239.255.255.250:1900", []byte("M-SEARCH * HTTP/1.1\r\n\r\n")) },
		"a request to a literal address":     func() { speak(t, "127.0.0.22:80", []byte("GET / HTTP/1.1\r\nHost: 127.0.0.22\r\n\r\n")) },
		"a label that a relay of ours takes": func() { relayed(t, label) },
		"the same hex with one letter amiss": func() { send(t, far+":1001", []byte(hex.EncodeToString([]byte("!"+label[1:])))) },
		"base64 with one letter amiss":       func() { send(t, far+":1002", []byte(base64.StdEncoding.EncodeToString([]byte(label[:19]+"!")))) },
	} {
		harmless()
	}
	seen := lab.Must(w.Stop())(t)
	seen.Sockets = slices.DeleteFunc(seen.Sockets, func(s watch.Socket) bool { return s.Local.String() == "127.0.0.30:853" }) // the resolver of this test
	if seen.Blind != "" || len(seen.Sightings)+seen.More+len(seen.Sockets) > 0 || seen.Packets < 40 {
		t.Errorf("%d packets; sighted %+v, sockets %v, blind %q", seen.Packets, seen.Sightings, seen.Sockets, seen.Blind)
	}
}

func TestWatch_TheProgramIsNamedThatAPacketIsOf(t *testing.T) {
	uplinked(t)
	w := lab.Must(watch.Start(t.Context(), watch.Options{Labels: func() []string { return nil }}))(t)
	cmd := exec.CommandContext(t.Context(), contain.Self, "198.51.100.53:53")
	cmd.Env = append(os.Environ(), "WATERTIGHT_LAB_ROLE=asking")
	in := lab.Must(cmd.StdinPipe())(t)
	out := lab.Must(cmd.StdoutPipe())(t)
	if err := contain.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	conn := lab.Must(dialled("198.51.100.54:53"))(t)
	defer conn.Close()
	if _, err := conn.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	seen := lab.Must(w.Stop())(t)
	in.Close()
	_ = cmd.Wait()
	others, ours := about(seen.Sightings, "198.51.100.53:53"), about(seen.Sightings, "198.51.100.54:53")
	if len(others) == 0 || others[0].Ours || !strings.HasSuffix(others[0].Process, "("+strconv.Itoa(cmd.Process.Pid)+")") {
		t.Errorf("of the other program: %+v, which is %d", others, cmd.Process.Pid)
	}
	if len(ours) == 0 || !ours[0].Ours || !strings.HasSuffix(ours[0].Process, "("+strconv.Itoa(os.Getpid())+")") {
		t.Errorf("of this one: %+v", ours)
	}
	if len(seen.Sockets) != 1 || seen.Sockets[0].Remote.String() != "198.51.100.54:53" {
		t.Errorf("the sockets of this process: %v", seen.Sockets)
	}
}

func TestWatch_AnInterfaceThatComesLaterIsSeenToo(t *testing.T) {
	lab.Inside(t)
	label := visit.NewLabel()
	w := lab.Must(watch.Start(t.Context(), watch.Options{Labels: func() []string { return []string{label} }}))(t)
	uplinked(t)
	send(t, isp+":53", query(t, label))
	seen := lab.Must(w.Stop())(t)
	if s := about(seen.Sightings, isp+":53"); len(s) < 2 || seen.Blind != "" || !strings.Contains(strings.Join(seen.Interfaces, " "), "up0") {
		t.Errorf("%+v on %v, blind %q", s, seen.Interfaces, seen.Blind)
	}
}

func TestWatch_TheObserverHasOneRightAndNoFile(t *testing.T) {
	lab.Inside(t)
	w := lab.Must(watch.Start(t.Context(), watch.Options{Labels: func() []string { return nil }}))(t)
	dir := "/proc/" + strconv.Itoa(w.PID())
	tasks := lab.Must(os.ReadDir(dir + "/task"))(t)
	if len(tasks) == 0 {
		t.Error("it has no threads")
	}
	for _, task := range tasks {
		status := string(lab.Must(os.ReadFile(dir + "/task/" + task.Name() + "/status"))(t))
		for _, want := range []string{"CapPrm:\t0000000000002000", "CapEff:\t0000000000002000", "CapBnd:\t0000000000002000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(status, want+"\n") {
				t.Errorf("thread %s: no %q in %s", task.Name(), want, status)
			}
		}
	}
	for _, e := range lab.Must(os.ReadDir(dir + "/fd"))(t) {
		to, _ := os.Readlink(dir + "/fd/" + e.Name())
		if !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "socket:") &&
			!strings.HasPrefix(to, "/sys/fs/cgroup/") { // Go's own, where a program with libraries may open files
			t.Errorf("it has %s open: %s", e.Name(), to)
		}
	}
	if env := lab.Must(os.ReadFile(dir + "/environ"))(t); bytes.Contains(env, []byte("PATH")) {
		t.Errorf("it has an environment: %q", env)
	}
	lab.Must(w.Stop())(t)
	if alive(w.PID()) {
		t.Error("it lives on")
	}
}

func TestWatch_TheObserverEndsWithThisProcess(t *testing.T) {
	lab.Inside(t)
	cmd := exec.CommandContext(t.Context(), contain.Self)
	cmd.Env = append(os.Environ(), "WATERTIGHT_LAB_ROLE=watching")
	out := lab.Must(cmd.StdoutPipe())(t)
	if err := contain.Start(cmd); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n := lab.Must(out.Read(b))(t)
	pid := lab.Must(strconv.Atoi(strings.TrimSpace(string(b[:n]))))(t)
	if !alive(pid) {
		t.Fatal("it does not live")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for alive(pid) {
		if ctx.Err() != nil {
			t.Fatalf("process %d lives on", pid)
		}
		runtime.Gosched()
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

func TestWatch_WithoutTheRightToReadPacketsItSaysSo(t *testing.T) {
	lab.Inside(t)
	for name, attr := range map[string]*syscall.SysProcAttr{
		// All rights, over nothing that this network belongs to.
		"in a user namespace of its own": {Cloneflags: unix.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}},
		"without the capability":         {},
	} {
		args := []string{contain.Self}
		if attr.Cloneflags == 0 {
			lab.Need(t, "setpriv")
			args = []string{"setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw", lab.Must(os.Readlink(contain.Self))(t)}
		}
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "WATERTIGHT_LAB_ROLE=blind")
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, "CAP_NET_RAW") || !strings.Contains(text, "setcap cap_net_raw+p") {
			t.Errorf("%s: %v: %s", name, err, text)
		}
	}
}
