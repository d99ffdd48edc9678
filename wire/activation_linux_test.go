package wire

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// passedAt is where the tests put the descriptors that a service manager would pass from 3 on.
const passedAt = 500

// pass puts copies of the sockets at their places, as a service manager does: open across exec.
func pass(t *testing.T, names string, sockets ...interface{ File() (*os.File, error) }) {
	t.Helper()
	for i, s := range sockets {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(f.Fd()), passedAt+i, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { unix.Close(passedAt + i) }) // an error says that it was closed already
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", strconv.Itoa(len(sockets)))
	t.Setenv("LISTEN_FDNAMES", names)
}

func listening(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestActivatedTakesTheSocketsByTheirNames(t *testing.T) {
	a, b, c := listening(t), listening(t), listening(t)
	pass(t, "proxy:admin:proxy", a, b, c)
	got, err := activated(passedAt)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got["proxy"]) != 2 || len(got["admin"]) != 1 {
		t.Fatalf("activated gives %v", got)
	}
	for i, l := range []*net.TCPListener{got["proxy"][0], got["admin"][0], got["proxy"][1]} {
		defer l.Close()
		if want := []*net.TCPListener{a, b, c}[i].Addr().String(); l.Addr().String() != want {
			t.Errorf("socket %d listens on %v, want %v", i, l.Addr(), want)
		}
		raw, err := l.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("socket %d would be inherited by children: flags %d, %v", i, flags, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := unix.FcntlInt(passedAt, unix.F_GETFD, 0); err == nil {
		t.Error("the descriptor itself was left open")
	}
}

func TestActivatedAcceptsConnections(t *testing.T) {
	pass(t, "", listening(t))
	got, err := activated(passedAt)
	if err != nil {
		t.Fatal(err)
	}
	l := got["unknown"][0]
	defer l.Close()
	out, err := DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
}

func TestActivatedGivesTheSocketsOnce(t *testing.T) {
	pass(t, "proxy", listening(t))
	got, err := activated(passedAt)
	if err != nil {
		t.Fatal(err)
	}
	got["proxy"][0].Close()
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if s, ok := os.LookupEnv(v); ok {
			t.Errorf("%s=%s is left for children", v, s)
		}
	}
	if again, err := activated(passedAt); err != nil || len(again) != 0 {
		t.Errorf("the second time: %v, %v", again, err)
	}
}

func TestActivatedLeavesSocketsOfAnotherProcessAlone(t *testing.T) {
	pass(t, "proxy", listening(t))
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()+1))
	if got, err := activated(passedAt); err != nil || len(got) != 0 {
		t.Errorf("activated gives %v, %v", got, err)
	}
	if _, err := unix.FcntlInt(passedAt, unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor was touched: %v", err)
	}
	if _, ok := os.LookupEnv("LISTEN_FDS"); ok {
		t.Error("the variables are left for children")
	}
}

func TestActivatedIsEmptyWithoutAServiceManager(t *testing.T) {
	t.Setenv("LISTEN_PID", "")
	if got, err := Activated(); err != nil || len(got) != 0 {
		t.Errorf("Activated gives %v, %v", got, err)
	}
}

func TestActivatedRefusesWhatIsNoListeningTCPSocket(t *testing.T) {
	unixListener, err := ListenUnix(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unixListener.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	l := listening(t)
	conn, err := DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for what, s := range map[string]interface{ File() (*os.File, error) }{
		"a UNIX socket": unixListener, "a UDP socket": udp, "a connected socket": conn, "a file": plainFile(t.TempDir()),
	} {
		t.Run(what, func(t *testing.T) {
			pass(t, "first:second", listening(t), s)
			got, err := activated(passedAt)
			if err == nil || got != nil {
				t.Fatalf("activated took it: %v", got)
			}
			if !strings.Contains(err.Error(), `"second"`) {
				t.Errorf("the error does not name the socket: %v", err)
			}
			if flags, err := unix.FcntlInt(passedAt+1, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("what was refused would be inherited by children: flags %d, %v", flags, err)
			}
		})
	}
}

// plainFile is a directory in which File opens a file.
type plainFile string

func (p plainFile) File() (*os.File, error) { return os.Create(filepath.Join(string(p), "file")) }

func TestActivatedRefusesVariablesThatContradict(t *testing.T) {
	for _, v := range []struct{ count, names string }{
		{"1", "a:b"}, {"two", ""}, {"-1", ""}, {"65", ""}, {"", ""},
	} {
		t.Run(v.count+" "+v.names, func(t *testing.T) {
			pass(t, v.names, listening(t))
			t.Setenv("LISTEN_FDS", v.count)
			if got, err := activated(passedAt); err == nil {
				t.Errorf("activated took it: %v", got)
			}
		})
	}
}
