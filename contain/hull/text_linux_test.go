package hull_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/contain/hull"
)

func TestNamesOfHostsAreLookedUpInFilesAndByDNSAlone(t *testing.T) {
	for host, out := range map[string]string{
		"": "hosts: files dns\nnetworks: files\n",
		"passwd: files systemd\n hosts : mdns4_minimal [NOTFOUND=return] resolve\nnetworks: nis": "passwd: files systemd\nhosts: files dns\nnetworks: files\n",
		"# hosts: x\nhosts:x": "# hosts: x\nhosts: files dns\nnetworks: files\n",
	} {
		if got := hull.Nsswitch(host); got != out {
			t.Errorf("of %q came %q, want %q", host, got, out)
		}
	}
}

func TestTheFileOfHostsLeadsNowhereButBack(t *testing.T) {
	got := hull.Hosts("127.0.0.1 localhost\n10.0.0.7 db.internal db # theirs\n0.0.0.0 ads.example\nff02::1 ip6-allnodes\nfe80::1%eth0 router\n::ffff:192.0.2.1 mapped\nnonsense\n", "box")
	want := "127.0.0.1 localhost\n0.0.0.0 ads.example\nff02::1 ip6-allnodes\n127.0.1.1 box\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := hull.Hosts("", ""); !strings.Contains(got, "127.0.0.1 localhost\n") {
		t.Errorf("got %q", got)
	}
	if got := hull.Hosts("127.0.0.1 localhost BOX", "box"); got != "127.0.0.1 localhost BOX\n" {
		t.Errorf("got %q", got)
	}
}

const mountinfo = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:5 / /net rw master:3 - autofs -hosts rw,fd=7,pgrp=1,timeout=0,minproto=5,maxproto=5,indirect,pipe_ino=1
32 22 0:6 / /boot\040a\134b rw - autofs systemd-1 rw,fd=8,direct
broken line
34 22 0:8 / /afs rw - afs none rw,dyn
35 22 0:9 / /afs/example.net rw - afs #example.net:root.cell. rw
36 22 0:10 / /mnt/a/hosts rw,nosuid - fuse.afuse afuse rw,user_id=1000,group_id=1000
33 22 0:7 / /mnt/a rw shared:1 master:2 - tmpfs none rw
`

func TestMountsAreRead(t *testing.T) {
	mounts, cut := hull.ReadMounts(strings.NewReader(mountinfo))
	points, byName := hull.Points(mounts)
	if cut || !slices.Equal(points, []string{"/", "/net", `/boot a\b`, "/afs", "/afs/example.net", "/mnt/a/hosts", "/mnt/a"}) || !slices.Equal(byName, []string{"/net", "/afs", "/mnt/a/hosts"}) {
		t.Errorf("%v, by name %v, cut %v", points, byName, cut)
	}
	if _, cut := hull.ReadMounts(strings.NewReader(mountinfo + strings.Repeat("x", 1<<17))); !cut {
		t.Error("a line beyond the limit is no end")
	}
}

func TestAFileIsFoundWhereverItsFileSystemIsMounted(t *testing.T) {
	const mounts = `1 0 8:1 /deploy / rw - ext4 /dev/sda rw
2 1 8:1 / /sysroot rw - ext4 /dev/sda rw
3 1 0:9 / /run rw - tmpfs none rw
4 1 0:9 /user /srv/jail/run rw - tmpfs none rw
5 1 8:2 / /var rw - ext4 /dev/sdb rw
6 1 8:1 /deploy/srv/x.sock /bound.sock rw - ext4 /dev/sda rw
`
	for path, want := range map[string][]string{
		"/srv/x.sock":     {"/sysroot/deploy/srv/x.sock", "/bound.sock"},
		"/run/user/1/bus": {"/srv/jail/run/1/bus"},
		"/run/nscd":       nil,
		"/runner":         {"/sysroot/deploy/runner"},
		"/bound.sock":     {"/srv/x.sock", "/sysroot/deploy/srv/x.sock"},
		"/var/x":          nil,
	} {
		if got := hull.Aliases(mounts, path); !slices.Equal(got, want) {
			t.Errorf("%s is seen at %q, not %q", path, got, want)
		}
	}
}

const unixTable = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock
0000000000000000: 00000002 00000000 00010000 0005 01 12346 @abstract
0000000000000000: 00000003 00000000 00000000 0001 03 12347
0000000000000000: 00000002 00000000 00000000 0002 01 12348 /run/a b.sock
0000000000000000: 00000002 00000000 00000000 0002 01 12349 relative.sock
short /x
0000000000000000: 00000002 00000000 00000000 0002 01     9 /log
`

func TestSocketsAreReadFromTheKernelsList(t *testing.T) {
	paths, relative, cut := hull.ReadUnix(strings.NewReader(unixTable))
	if cut || !slices.Equal(paths, []string{"/run/a b.sock", "/log"}) || !slices.Equal(relative, []string{"relative.sock"}) {
		t.Errorf("%q and %q, cut %v", paths, relative, cut)
	}
}

func TestALinkIsFollowedAsFarAsItIsThere(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for at, to := range map[string]string{"a": "b/c", "b": "../" + filepath.Base(dir) + "/real", "loop": "loop", "up": "/../.." + dir + "/real/./x/../y"} {
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/real", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/a": "/real/c", "/b": "/real", "/up": "/real/y", "/none/x": "/none/x"} {
		if got, err := hull.LeadsTo(dir + path); got != dir+want || err != nil {
			t.Errorf("%s leads to %s: %v", path, got, err)
		}
	}
	if _, err := hull.LeadsTo(dir + "/loop"); err == nil {
		t.Error("a loop has an end")
	}
}

func TestASocketThatAnswersIsARefusalThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	for _, network := range []string{"unix", "unixgram", "unixpacket"} {
		path := filepath.Join(dir, network)
		listen(t, network, path)
		if err := hull.Audit(dir+"/nothing", path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--allow-socket") {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := hull.Audit(dir + "/nothing"); err != nil {
		t.Error(err)
	}
}

func TestEveryDangerousVariableHasItsReason(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range hull.Dangerous() {
		if v.Name == "" || len(v.Why) < 10 || seen[v.Name] {
			t.Errorf("%+v", v)
		}
		seen[v.Name] = true
	}
	kept, out := hull.Environment([]string{"JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=x", "TMUX_PANE=1", "malformed", "A=b=c"}, nil)
	if !slices.Equal(kept, []string{"A=b=c"}) || !slices.Equal(out, []string{"JAVA_TOOL_OPTIONS", "TMUX_PANE"}) {
		t.Errorf("kept %q, left out %q", kept, out)
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(mountinfo)
	f.Fuzz(func(t *testing.T, text string) {
		mounts, _ := hull.ReadMounts(strings.NewReader(text))
		if len(mounts) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mounts", len(mounts))
		}
	})
}

func FuzzUnixTable(f *testing.F) {
	f.Add(unixTable)
	f.Fuzz(func(t *testing.T, text string) {
		paths, relative, _ := hull.ReadUnix(strings.NewReader(text))
		for _, path := range append(paths, relative...) {
			if !strings.Contains(text, path) || strings.HasPrefix(path, "/") == slices.Contains(relative, path) || path[0] == '@' {
				t.Errorf("%q", path)
			}
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("127.0.0.1 localhost\n", "hosts: files\n")
	f.Fuzz(func(t *testing.T, hosts, nsswitch string) {
		for line := range strings.Lines(hull.Hosts(hosts, "box")) {
			if len(strings.Fields(line)) < 2 {
				t.Errorf("%q", line)
			}
		}
		text := hull.Nsswitch(nsswitch)
		hostsLines := 0
		for line := range strings.Lines(text) {
			key, _, ok := strings.Cut(strings.TrimSpace(line), ":")
			if ok && strings.TrimSpace(key) == "hosts" {
				hostsLines++
			}
		}
		if hostsLines != 1 {
			t.Errorf("%d lines for hosts in %q", hostsLines, text)
		}
	})
}
