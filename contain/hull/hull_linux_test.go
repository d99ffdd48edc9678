package hull_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"watertight/contain/hull"
)

// listen opens a UNIX socket of the host that everybody may connect to.
func listen(t *testing.T, network, path string) {
	t.Helper()
	var closer interface{ Close() error }
	var err error
	if network == "unixgram" {
		closer, err = net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
	} else {
		closer, err = net.Listen(network, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closer.Close()
		os.Remove(path)
	})
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
}

// dir makes a directory that belongs to the user of l.
func (l *launch) dirIn(parent string) string {
	l.t.Helper()
	dir, err := os.MkdirTemp(parent, "hull-test-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, l.uid, l.uid); err != nil {
		l.t.Fatal(err)
	}
	return dir
}

func want(t *testing.T, what string, r result, out string) {
	t.Helper()
	if r.out != out+"\n" {
		t.Errorf("%s: got %+v, want %q", what, r, out)
	}
}

// refused wants that nothing was started, for a reason with this text.
func refused(t *testing.T, r result, text string) {
	t.Helper()
	if r.code != 125 || r.out != "" || !strings.Contains(r.err, text) {
		t.Errorf("got %+v, want a refusal with %q", r, text)
	}
}

func TestSocketsInRunAreOutOfReach(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		for _, network := range []string{"unix", "unixgram", "unixpacket"} {
			path := "/run/" + network + ".sock"
			listen(t, network, path)
			want(t, "without a hull", l.plain().role("connect", path), "open "+path)
			want(t, "contained", l.role("connect", path), "closed "+path)
		}
	})
}

func TestSocketsElsewhereAreCoveredOneByOne(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		for _, network := range []string{"unix", "unixgram", "unixpacket"} {
			path := filepath.Join(l.dirIn("/srv"), strings.Repeat("long", 10), "a b.sock")
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			listen(t, network, path)
			want(t, "without a hull", l.plain().role("connect", path), "open "+path)
			want(t, "contained", l.role("connect", path), "closed "+path)
		}
	})
}

func TestSocketsAreCoveredUnderEveryMountThatShowsThem(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		// As the file systems of jails and of immutable systems are: /run is seen at another place too, deep down.
		place := filepath.Join(l.dirIn("/srv"), "a/b/c/run")
		if err := os.MkdirAll(place, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/run", place, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(place, unix.MNT_DETACH) })
		listen(t, "unix", "/run/seen.sock")
		want(t, "without a hull", l.plain().role("connect", place+"/seen.sock"), "open "+place+"/seen.sock")
		want(t, "contained", l.role("connect", place+"/seen.sock"), "closed "+place+"/seen.sock")
	})
}

func TestWhereProcIsMaskedOthersAreSeenAndNotReached(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		if os.Getuid() != 0 {
			t.Skip("NOT TESTED: only root masks parts of /proc")
		}
		listen(t, "unix", "/run/behind.sock")
		const path = "/proc/timer_list"
		if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil { // as engines of containers do
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(path, 0) })
		r := l.role("processes", "/run/behind.sock")
		if strings.Contains(r.out, "open") || strings.Contains("\n"+r.out, "\n2 processes") || !strings.Contains(r.out, "processes") {
			t.Errorf("contained: %+v", r)
		}
		self := strconv.Itoa(os.Getpid()) // of the same user, where that is root
		r = l.run("/bin/sh", "-c", "cat /proc/"+self+"/environ || stat -L /proc/"+self+"/fd/0 || stat -L /proc/"+self+"/ns/net || ls /proc/"+self+"/cwd/ || cat /proc/"+self+"/maps || ls /proc/self/fd >/dev/null && echo own")
		want(t, "contained", r, "own")
		if r := l.role("write", "/proc/sys/kernel/core_pattern", "/proc/"+self+"/mem"); strings.Contains(r.out, "done") {
			t.Errorf("contained: %+v", r)
		}
	})
}

func TestASocketIsReachedWhereItIsAllowed(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		elsewhere := filepath.Join(l.dirIn("/srv"), "agent.sock")
		other := filepath.Join(filepath.Dir(elsewhere), "other.sock")
		for _, path := range []string{"/run/allowed.sock", elsewhere} {
			listen(t, "unix", path)
			l.spec.Plan.Sockets = append(l.spec.Plan.Sockets, path)
		}
		listen(t, "unix", other)
		want(t, "contained", l.role("connect", "/run/allowed.sock", elsewhere, other),
			"open /run/allowed.sock\nopen "+elsewhere+"\nclosed "+other)
		l.spec.Plan.Sockets = []string{"/run/nothing.sock"}
		refused(t, l.role("connect"), "--allow-socket /run/nothing.sock")
		l.spec.Plan.Sockets = []string{"/etc/passwd"}
		refused(t, l.role("connect"), "--allow-socket /etc/passwd is no socket")
		l.spec.Plan.Sockets, l.spec.Plan.Binds = nil, []string{"/run/allowed.sock"}
		refused(t, l.role("connect"), "--allow-socket")
	})
}

func TestAbstractSocketsAreOutOfReach(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		ln, err := net.Listen("unix", "@hull-test")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		want(t, "on the host", l.open().role("connect", "@hull-test"), "open @hull-test")
		want(t, "contained", l.role("connect", "@hull-test"), "closed @hull-test")
	})
}

func TestTheMasksStay(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		listen(t, "unix", "/run/behind.sock")
		// Lazily or not, what is unmounted is the mask alone: the mounts of the host were parted from, not locked.
		want(t, "with capabilities", l.bare().role("unmount", "/run/behind.sock"), "done open /run/behind.sock")
		want(t, "contained", l.role("unmount", "/run/behind.sock"), "EPERM closed /run/behind.sock")
	})
}

func TestTheWorkingDirectoryIsNoWayBehindTheMasks(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		dir := l.dirIn("/run")
		listen(t, "unix", dir+"/x.sock")
		l.dir = dir
		want(t, "without a hull", l.plain().role("connect", "./x.sock"), "open ./x.sock")
		want(t, "contained", l.role("connect", "./x.sock"), "closed ./x.sock")
		l.spec.Plan.Dir = dir
		refused(t, l.role("connect"), "the working directory")
		l.spec.Plan.Dir = "/tmp"
		refused(t, l.role("connect"), "--share-tmp")
		l.spec.Plan.ShareTmp = true
		want(t, "with /tmp shared", l.run("/bin/pwd"), "/tmp")
	})
}

func TestFilesOfOthersAreOutOfReachThroughProc(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		listen(t, "unix", "/run/behind.sock")
		if os.Getuid() == 0 && l.uid == 0 { // as it is often done: masks, and the host's processes
			r := l.open().run("/usr/bin/unshare", "-nm", "/bin/sh", "-c", "mount -t tmpfs none /run; "+program+" role:processes /run/behind.sock")
			if !strings.Contains(r.out, "open /proc/") {
				t.Errorf("with masks alone: %+v", r)
			}
		}
		r := l.role("processes", "/run/behind.sock")
		if strings.Contains(r.out, "open") || !strings.Contains(r.out, "2 processes") {
			t.Errorf("contained: %+v", r)
		}
	})
}

func TestNamesAreLookedUpAsThePlanSays(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		swap := func(path, text string) {
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(path); os.WriteFile(path, old, 0o644) })
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		swap("/etc/hosts", "127.0.0.1 localhost\n192.0.2.7 canary.example.net # of the host\n")
		swap("/etc/nsswitch.conf", "passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n")
		swap("/etc/resolv.conf", "nameserver 198.51.100.1\n")
		const show = "cat /etc/resolv.conf; grep hosts: /etc/nsswitch.conf; grep -c canary /etc/hosts; echo x >/etc/resolv.conf"
		for _, link := range []string{"", "../run/resolve/stub.conf", "/run/resolve/other.conf"} {
			if link != "" {
				os.Remove("/etc/resolv.conf")
				if err := os.Symlink(link, "/etc/resolv.conf"); err != nil {
					t.Fatal(err)
				}
			}
			want(t, "contained, with a link to "+link, l.run("/bin/sh", "-c", show), "nameserver 192.0.2.53\nhosts: files dns\n0")
		}
	})
}

func TestTheKernelIsNotWrittenTo(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		const pattern = "/proc/sys/kernel/core_pattern" // root could have the kernel start a program outside
		if l.uid == 0 && os.Getuid() == 0 {
			want(t, "without a hull", l.plain().role("write", pattern), pattern+" done")
		}
		r := l.role("write", pattern, "/proc/sysrq-trigger", "/sys/kernel/profiling")
		if strings.Contains(r.out, "done") {
			t.Errorf("contained: %+v", r)
		}
	})
}

func TestTmpIsPrivateAndWhatIsNamedIsThere(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		dir, work := l.dirIn("/tmp"), l.dirIn("/tmp")
		l.spec.Plan.Dir = work
		l.env = []string{"TMPDIR=/tmp/for-this-run", "XDG_RUNTIME_DIR=/run/user/7"}
		script := "test -e " + dir + " && echo there || echo gone; touch file; mktemp >/dev/null && ls -d $TMPDIR $XDG_RUNTIME_DIR"
		want(t, "private", l.run("/bin/sh", "-c", script), "gone\n/run/user/7\n/tmp/for-this-run")
		if _, err := os.Stat(work + "/file"); err != nil {
			t.Error(err)
		}
		l.spec.Plan.Binds = []string{dir}
		want(t, "with the directory", l.run("/bin/sh", "-c", "test -e "+dir+" && echo there"), "there")
		l.spec.Plan.Binds = []string{"/dev/shm"}
		shared := l.dirIn("/dev/shm")
		want(t, "with a private directory as a whole", l.run("/usr/bin/stat", "-c", "%F", shared), "directory")
		link := filepath.Join(dir, "link")
		if err := os.Symlink("/srv", link); err != nil {
			t.Fatal(err)
		}
		l.spec.Plan.Dir = link
		want(t, "in a directory by a link that is hidden", l.run("/bin/pwd", "-P"), "/srv")
		l.spec.Plan.Dir = work
		l.spec.Plan.Binds = []string{"/tmp/nothing-here"}
		refused(t, l.run("/bin/true"), "--bind /tmp/nothing-here")
	})
}

func TestLinksAmongTheMaskedDirectoriesAreFollowed(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		if err := unix.Mount("tmpfs", "/var", "tmpfs", 0, "mode=755"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount("/var", unix.MNT_DETACH) })
		for at, to := range map[string]string{"/var/run": "../run", "/var/tmp": "/run/of-var/tmp", "/run/current": "/usr"} {
			if err := os.Symlink(to, at); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { os.Remove("/run/current"); os.RemoveAll("/run/of-var") })
		if err := os.MkdirAll("/run/of-var/tmp", 0o755); err != nil {
			t.Fatal(err)
		}
		listen(t, "unix", "/run/of-var/x.sock")
		l.env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}
		script := "touch /var/tmp/file /tmp/other && echo written; ls /run/of-var; readlink /run/current; " + program + " role:connect /var/run/of-var/x.sock"
		want(t, "contained", l.run("/bin/sh", "-c", script), "written\ntmp\n/usr\nclosed /var/run/of-var/x.sock")
	})
}

func TestAProgramThatTheMasksHideIsNotFoundAndTheMendIsSaid(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		dir := l.dirIn("/tmp")
		if err := os.Symlink("/bin/true", dir+"/tool"); err != nil {
			t.Fatal(err)
		}
		l.env = []string{"PATH=" + dir, "HOME=/"}
		for _, name := range []string{"tool", dir + "/tool"} {
			refused(t, l.run(name), "--bind")
		}
		l.spec.Plan.Binds = []string{dir}
		if r := l.run("tool"); r.code != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestSocketsThatNoProcessHereHoldsAreFound(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		// A socket without a listener looks like one of a program that is not seen from here, as the host's from a container.
		from, deep := l.dirIn("/srv"), filepath.Join(l.dirIn("/srv"), "a/b/c")
		if err := os.MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(from, deep, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(deep, unix.MNT_DETACH) })
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: from + "/x.sock", Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		ln.Close()
		want(t, "on the host", l.open().run("/usr/bin/stat", "-c", "%F", deep+"/x.sock"), "socket")
		want(t, "contained", l.run("/usr/bin/stat", "-c", "%F", from+"/x.sock", deep+"/x.sock"), "regular empty file\nregular empty file")
	})
}

func TestSocketsInASharedTmpAreCovered(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		path := l.dirIn("/tmp") + "/x.sock"
		listen(t, "unix", path)
		l.spec.Plan.ShareTmp = true
		want(t, "without a hull", l.plain().role("connect", path), "open "+path)
		want(t, "contained", l.role("connect", path), "closed "+path)
	})
}

func TestDangerousVariablesAreUnset(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		l.env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bus", "SSH_AUTH_SOCK=/run/agent", "http_proxy=http://127.0.0.1:1", "LANG=C", "JAVA_TOOL_OPTIONS=-Xmx1g"}
		l.spec.Plan.KeepEnv = []string{"SSH_AUTH_SOCK"}
		want(t, "contained", l.role("environment"), "HOME=/\nJAVA_TOOL_OPTIONS=-Xmx1g\nLANG=C\nPATH=/usr/bin:/bin\nSSH_AUTH_SOCK=/run/agent")
	})
}

func TestAProgramSeesItsUserItsFilesAndItsExitCode(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		l.spec.Plan.Dir = l.dirIn("/srv")
		script := "id -u; pwd; hostname; echo here >file; ls -ln file | cut -d' ' -f3; exit 7"
		contained, plain := l.run("/bin/sh", "-c", script), l.plain().run("/bin/sh", "-c", script)
		if contained != plain || contained.code != 7 {
			t.Errorf("%+v, and without a hull %+v", contained, plain)
		}
		if text, err := os.ReadFile(l.spec.Plan.Dir + "/file"); err != nil || string(text) != "here\n" {
			t.Errorf("the file has %q: %v", text, err)
		}
	})
}

func TestAPlanThatCanBeReadTwoWaysIsRefused(t *testing.T) {
	good := hull.Plan{Dir: "/", ResolvConf: "nameserver 192.0.2.53\n"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*hull.Plan){
		"relative directory":  func(p *hull.Plan) { p.Dir = "work" },
		"no resolver":         func(p *hull.Plan) { p.ResolvConf = "" },
		"bind of everything":  func(p *hull.Plan) { p.Binds = []string{"/run"} },
		"unclean bind":        func(p *hull.Plan) { p.Binds = []string{"/tmp/../run"} },
		"relative socket":     func(p *hull.Plan) { p.Sockets = []string{"x.sock"} },
		"standard descriptor": func(p *hull.Plan) { p.Keep = []int{1} },
		"high descriptor":     func(p *hull.Plan) { p.Keep = []int{5000} },
		"pattern of names":    func(p *hull.Plan) { p.KeepEnv = []string{"DBUS_*"} },
		"zero octet":          func(p *hull.Plan) { p.Env = []string{"A=\x00"} },
		"too many":            func(p *hull.Plan) { p.Sockets = make([]string, 257) },
		"too large":           func(p *hull.Plan) { p.Env = []string{"A=" + strings.Repeat("x", 1<<21)} },
	} {
		p := good
		change(&p)
		if err := p.Check(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
