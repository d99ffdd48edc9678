package doctor_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/doctor"
	"watertight/doctor/doctortest"
	"watertight/doctor/read"
)

func hostOf(t *testing.T, files string) *doctor.Host {
	t.Helper()
	return doctortest.Read(t, t.Name(), []byte("A host.\n"+files)).Host(t)
}

func TestSettings_ofEtcStandOverThoseOfTheSameNameElsewhere(t *testing.T) {
	h := hostOf(t, `-- etc/systemd/resolved.conf --
[Resolve]
DNS=192.0.2.1
-- usr/lib/systemd/resolved.conf --
[Resolve]
DNS=192.0.2.2
-- etc/systemd/resolved.conf.d/20-b.conf --
[Resolve]
DNS=192.0.2.3
-- usr/lib/systemd/resolved.conf.d/20-b.conf --
[Resolve]
DNS=192.0.2.4
-- usr/lib/systemd/resolved.conf.d/10-a.conf --
[Resolve]
DNS=192.0.2.5
`)
	var got []string
	for _, s := range h.Settings("resolved.conf") {
		got = append(got, s.Value)
	}
	if want := []string{"192.0.2.1", "192.0.2.5", "192.0.2.3"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestAnswersDNS_isByAddressAndPortAndNeverForAnotherHost(t *testing.T) {
	h := hostOf(t, `-- CONFIG --
listen: {dns: ["127.0.0.1:53", "[::1]:5353", {address: "0.0.0.0:54", allow_insecure: true}]}
`)
	for text, want := range map[string]bool{
		"127.0.0.1:53": true, "127.0.0.2:53": false, "[::1]:53": false, "[::1]:5353": true, "127.0.0.9:54": true, "[::1]:54": false, "192.0.2.1:54": false,
	} {
		if got := h.AnswersDNS(netip.MustParseAddrPort(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestForeign_serversOfLinksCountUnlessEverythingGoesToOurs(t *testing.T) {
	const files = `-- CONFIG --
listen: {dns: "127.0.0.1:5353"}
-- etc/resolv.conf --
nameserver 127.0.0.53
-- run/systemd/resolve/resolv.conf --
nameserver 192.0.2.1
-- etc/systemd/resolved.conf --
[Resolve]
DNS=127.0.0.1:5353#name
`
	h := hostOf(t, files)
	if f := h.Foreign(h.Lookups().Resolved); len(f) != 1 || f[0].At.Addr().String() != "192.0.2.1" {
		t.Errorf("%v", f)
	}
	h = hostOf(t, files+"Domains=~.\n")
	if f := h.Foreign(h.Lookups().Resolved); len(f) != 0 {
		t.Errorf("%v", f)
	}
}

const row = "   0: 0500A8C0:9C40 08080808:0035 01 00000000:00000000 00:00000000 00000000   997        0 61 1 0 100\n"

func TestSockets_haveTheirProcessesWhereThoseMayBeSeen(t *testing.T) {
	const table = "-- proc/net/udp --\n  sl  local_address\n" + row
	everything := func(read.Socket) bool { return true }
	h := hostOf(t, table)
	if got := h.Sockets(everything); len(got) != 1 || got[0].Known || got[0].String() != "a process of user 997: udp to 8.8.8.8:53" {
		t.Errorf("%v", got)
	}
	h = hostOf(t, table+"-- proc/7/cmdline --\ndnsmasq\n-- proc/7/exe -> /usr/sbin/dnsmasq --\n-- proc/7/fd/4 -> socket:[61] --\n")
	if got := h.Sockets(everything); len(got) != 1 || got[0].String() != "process 7 (dnsmasq): udp to 8.8.8.8:53" {
		t.Errorf("%v", got)
	}
}

// A busy server has more sockets than a file may have octets: those that are past that are seen all the same.
func TestSockets_areSeenBehindManyThousandOthers(t *testing.T) {
	closed := strings.Replace(row, " 01 ", " 06 ", 1)
	h := hostOf(t, "-- proc/net/tcp --\n  sl  local_address\n"+strings.Repeat(closed, doctor.MaxFile/len(row)+2)+row)
	if got := h.Sockets(func(s read.Socket) bool { return s.State == read.Established }); len(got) != 1 {
		t.Errorf("%d were read", len(got))
	}
	if blind := h.Files.Blind(); len(blind) != 0 {
		t.Errorf("%q", blind)
	}
}

func TestSockets_aTableThatIsTooLargeIsReadAsFarAsItGoesAndSaysSo(t *testing.T) {
	const limit = 16 << 20
	h := hostOf(t, "-- proc/net/tcp --\n  sl  local_address\n"+row+strings.Repeat(strings.Repeat("x", 1<<20-1)+"\n", limit>>20)+row)
	if got := h.Sockets(func(read.Socket) bool { return true }); len(got) != 1 {
		t.Errorf("%d were read", len(got))
	}
	if blind := h.Files.Blind(); len(blind) != 1 || !strings.HasPrefix(blind[0], "/proc/net/tcp:") {
		t.Errorf("%q", blind)
	}
}

func TestOutside_isWhoSeesThePathFromAnotherNetwork(t *testing.T) {
	process := func(pid int, net, mounts string) string {
		return fmt.Sprintf("-- proc/%[1]d/cmdline --\nx\n-- proc/%[1]d/ns/net -> net:[%[2]s] --\n-- proc/%[1]d/mountinfo --\n%[3]s\n", pid, net, mounts)
	}
	const root, run, private = "22 1 0:21 / / rw - ext4 x rw\n", "24 22 0:22 / /run rw - tmpfs x rw\n", "30 24 0:44 / /run rw - tmpfs x rw\n"
	h := hostOf(t, process(1, "1", root+run)+process(2, "1", root+run)+process(3, "2", root+run)+process(4, "2", root+run+private)+process(5, "2", root))
	var got []int
	for _, p := range h.Outside("/run/nscd/socket") {
		got = append(got, p.PID)
	}
	if !slices.Equal(got, []int{3}) {
		t.Errorf("%v, not 3 alone", got)
	}
}
