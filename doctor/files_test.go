package doctor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/doctortest"
)

func seeded(t *testing.T, text string) *doctor.Host {
	t.Helper()
	return doctortest.Read(t, "host", []byte(text)).Host(t)
}

func TestFiles_followLinksWithinTheRootOnly(t *testing.T) {
	h := seeded(t, `
-- etc/resolv.conf -> /run/systemd/resolve/stub-resolv.conf --
-- run/systemd/resolve/stub-resolv.conf --
nameserver 127.0.0.53
-- etc/up -> ../../../../../etc/hostname --
-- etc/hostname --
box
-- etc/loop -> loop --
-- etc/a -> b --
-- etc/b -> a --
-- etc/gone -> nothing --
`)
	for name, want := range map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.53\n", "/etc/up": "box\n", "/etc/../etc/hostname": "box\n"} {
		if f, ok := h.Files.Read(name); !ok || string(f.Data) != want || f.Path != name {
			t.Errorf("%s: %q %v", name, f.Data, ok)
		}
	}
	for _, name := range []string{"/etc/loop", "/etc/a", "/etc/gone", "/etc", "/nothing", "/etc/hostname/x"} {
		if f, ok := h.Files.Read(name); ok {
			t.Errorf("%s: %q", name, f.Data)
		}
	}
	if text, ok := h.Files.Link("/etc/resolv.conf"); !ok || text != "/run/systemd/resolve/stub-resolv.conf" {
		t.Errorf("the link is %q", text)
	}
	if real, ok := h.Files.Real("/etc/resolv.conf"); !ok || real != "/run/systemd/resolve/stub-resolv.conf" {
		t.Errorf("the path is %q", real)
	}
	if _, ok := h.Files.Link("/etc/hostname"); ok {
		t.Error("a file is a link")
	}
	if blind := h.Files.Blind(); slices.ContainsFunc(blind, func(s string) bool { return strings.Contains(s, "gone") }) {
		t.Errorf("what is not there is told of: %q", blind)
	}
}

func TestFiles_tellWhatTheyCouldNotRead(t *testing.T) {
	c := doctortest.Read(t, "host", []byte("x\n"))
	h := c.HostWith(t, map[string][]byte{"etc/big": bytes.Repeat([]byte("x"), doctor.MaxFile+1), "etc/most": bytes.Repeat([]byte("x"), doctor.MaxFile), "etc/secret 0000": []byte("x")})
	if _, ok := h.Files.Read("/etc/big"); ok {
		t.Error("a file beyond the limit is read")
	}
	if _, ok := h.Files.Read("/etc/most"); !ok {
		t.Error("a file of the limit is not read")
	}
	want := 1
	if _, ok := h.Files.Read("/etc/secret"); !ok {
		want++ // root reads it all the same
	}
	if blind := h.Files.Blind(); len(blind) != want || !strings.HasPrefix(blind[0], "/etc/big: it has more than") {
		t.Errorf("%q", blind)
	}
}

func TestFiles_globInEveryPartOfAPath(t *testing.T) {
	h := seeded(t, "-- srv/ann/a/.git/config --\nx\n-- srv/ann/b/.git/config --\nx\n-- srv/ann/c/file --\nx\n-- srv/link -> ann --\n")
	if got := h.Files.Glob("/srv/ann/*/.git/config"); !slices.Equal(got, []string{"/srv/ann/a/.git/config", "/srv/ann/b/.git/config"}) {
		t.Errorf("%q", got)
	}
	if got := h.Files.Glob("/srv/l*/[a-b]"); !slices.Equal(got, []string{"/srv/link/a", "/srv/link/b"}) {
		t.Errorf("%q", got)
	}
	if got := h.Files.Glob("/home/[/x"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestLinesOfAFile_areEvidenceWithoutSecretsAndWithoutWhatMovesATerminal(t *testing.T) {
	h := seeded(t, "-- f --\nproxy = http://ann:hunter2@h:1\r\n\x1b[31mred\u202e\n")
	f, _ := h.Files.Read("/f")
	lines := f.Lines()
	if len(lines) != 2 || f.At(1, lines[0]) != "/f:1: proxy = http://ann:***@h:1" || f.At(2, lines[1]) != "/f:2:  [31mred " {
		t.Errorf("%q %q", f.At(1, lines[0]), f.At(2, lines[1]))
	}
}

func TestOpen_wantsAnAbsoluteRootAConfigurationAndTheTime(t *testing.T) {
	for _, o := range []doctor.Options{
		{Root: ".", Config: config.Default(), Now: time.Now()},
		{Root: t.TempDir(), Now: time.Now()},
		{Root: t.TempDir(), Config: config.Default()},
		{Root: filepath.Join(t.TempDir(), "nothing"), Config: config.Default(), Now: time.Now()},
	} {
		if _, err := doctor.Open(o); err == nil {
			t.Errorf("%+v is opened", o)
		}
	}
}

func TestHomes_areThoseOfPeopleAndOfRoot(t *testing.T) {
	h := seeded(t, `
-- etc/passwd --
root:x:0:0::/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
ann:x:1000:1000::/srv/ann:/bin/sh
bob:x:1001:1000::/srv/gone:/bin/sh
nobody:x:65534:65534::/root:/bin/false
broken:x
-- root/.profile --
-- srv/ann/.profile --
-- usr/sbin/x --
`)
	var got []string
	for _, home := range h.Homes {
		got = append(got, home.User+" "+home.Path)
	}
	if !slices.Equal(got, []string{"root /root", "ann /srv/ann"}) {
		t.Errorf("%q", got)
	}
}

func TestHomes_thatDifferInCaseAreOneWhereFilesHaveNone(t *testing.T) {
	for _, system := range []string{"windows", "darwin"} {
		o := doctortest.Read(t, system, []byte("-- OS --\n"+system+"\n-- Users/ann/x --\n-- users/ann/x --\n")).Options(t)
		o.Home = "/users/ann"
		if h := doctortest.Open(t, o); len(h.Homes) != 1 {
			t.Errorf("%s: %v", system, h.Homes)
		}
	}
}

func TestProcesses_areReadWithWhatCanBeSeenOfThem(t *testing.T) {
	h := seeded(t, `
-- proc/12/cmdline --
node
a b
-- proc/12/environ --
A=1
B=2=3
-- proc/12/status --
Name:	node
PPid:	7
Uid:	1000	1000	1000	1000
-- proc/12/exe -> /usr/bin/node (deleted) --
-- proc/13/status --
Name:	kthreadd
-- proc/14/cmdline --
secret
-- proc/self/status --
x
`)
	if len(h.Processes) != 2 || h.Unseen != 1 {
		t.Fatalf("%+v, %d unseen", h.Processes, h.Unseen)
	}
	p := h.Processes[0]
	if b, _ := p.Env("B"); p.PID != 12 || p.PPID != 7 || p.UID != 1000 || p.Exe != "/usr/bin/node" || p.String() != "process 12 (node)" || p.Command() != "node a b" || b != "2=3" || !p.Seen {
		t.Errorf("%+v", p)
	}
	if p := h.Processes[1]; p.Seen || p.UID != -1 {
		t.Errorf("%+v", p)
	}
}

// The host that the tests run on has processes, and this one is left out.
func TestThisHost_canBeLookedAt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	child, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	h, err := doctor.Open(doctor.Options{Root: "/", Config: config.Default(), Now: time.Now(), Home: child})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	i := slices.IndexFunc(h.Processes, func(p doctor.Process) bool { return p.PID == os.Getpid() })
	if i < 0 {
		t.Fatal("this process is not found")
	}
	if info, ok := h.BuildInfo(h.Processes[i]); !ok || !strings.HasPrefix(info.Path, "watertight/doctor") {
		t.Errorf("how it was built: %+v", info)
	}
	without, err := doctor.Open(doctor.Options{Root: "/", Config: config.Default(), Now: time.Now(), PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	if slices.ContainsFunc(without.Processes, func(p doctor.Process) bool { return p.PID == os.Getpid() }) {
		t.Error("this process is not left out")
	}
}
