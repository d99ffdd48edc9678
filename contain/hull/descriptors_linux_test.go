package hull_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inherit runs a role with a descriptor 0, or with one more as descriptor 3.
func (l *launch) inherit(fd int, file *os.File, role string, args ...string) result {
	l.t.Helper()
	l.files = []*os.File{file}
	if fd == 3 {
		null, err := os.Open(os.DevNull)
		if err != nil {
			l.t.Fatal(err)
		}
		defer null.Close()
		l.files = []*os.File{null, file}
	}
	defer func() { l.files = nil }()
	return l.role(role, args...)
}

func file(f *os.File, err error) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
}

func TestDescriptorsAreNotInherited(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		listen(t, "unix", "/run/behind.sock")
		dir := file(os.Open("/run"))(t)
		const path = "/proc/self/fd/3/behind.sock"
		want(t, "without a hull", l.plain().inherit(3, dir, "connect", path), "open "+path)
		want(t, "contained", l.inherit(3, dir, "connect", path), "closed "+path)
		text := file(os.Open(program))(t)
		l.spec.Plan.Keep = []int{3}
		r := l.inherit(3, text, "descriptors")
		if !strings.Contains(r.out, "3 "+program) || strings.Count(r.out, "\n") != 5 { // the last one reads the list
			t.Errorf("with a file that is kept: %+v", r)
		}
		refused(t, l.inherit(3, dir, "descriptors"), "descriptor 3 is a directory")
	})
}

func TestDescriptorsThatLeadOutAreRefused(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		server, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer elsewhere.Close()
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tcp := file(conn.(*net.TCPConn).File())(t)

		// It is in the host's network, wherever it is used.
		port := strconv.Itoa(elsewhere.Addr().(*net.TCPAddr).Port)
		want(t, "without a hull", l.plain().inherit(0, tcp, "anew", port), "done")
		refused(t, l.inherit(0, tcp, "anew", port), "a socket of the host's network")

		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		refused(t, l.inherit(0, file(udp.File())(t), "status"), "a socket of the host's network")
		refused(t, l.inherit(0, file(os.Open("/run"))(t), "status"), "a directory")
		refused(t, l.inherit(0, file(os.Open("/proc/self/ns/net"))(t), "status"), "a namespace of the host")
		pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, l.inherit(0, file(os.NewFile(uintptr(pidfd), "pidfd"), nil)(t), "status"), "descriptor 0 is ") // says what by kernel
		if device, err := os.Open("/dev/kmsg"); err == nil {
			refused(t, l.inherit(0, file(device, nil)(t), "status"), "a device")
		}

		path := filepath.Join(l.dirIn("/srv"), "x.sock")
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		refused(t, l.inherit(0, file(ln.File())(t), "status"), "a listening socket")
		for kind, text := range map[int]string{unix.SOCK_STREAM: "", unix.SOCK_DGRAM: "a socket for datagrams"} {
			pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pair[1])
			r := l.inherit(0, file(os.NewFile(uintptr(pair[0]), "pair"), nil)(t), "calls", "route")
			if text == "" {
				want(t, "with one end of a stream", r, "route done")
			} else {
				refused(t, r, text)
			}
		}
		l.spec.Plan.AnyFile = true
		want(t, "with leave", l.inherit(0, tcp, "anew", port), "done")
	})
}
