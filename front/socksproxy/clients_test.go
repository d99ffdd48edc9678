package socksproxy

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"watertight/fault"
	"watertight/name"
)

// runs runs a client that is installed on this host, or skips the test.
func runs(t *testing.T, command string, args ...string) (string, error) {
	t.Helper()
	// The system's own first: that is where the packages of other programs are.
	path, err := exec.LookPath("/usr/bin/" + command)
	if err != nil {
		path, err = exec.LookPath(command)
	}
	if err != nil {
		t.Skipf("%s is not installed", command)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // no proxy variables
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func serveDoor(t *testing.T, in *inside) string {
	t.Helper()
	door := newDoor(t, in, 0)
	return listen(t, func(conn *net.TCPConn) { door.ServeConn(context.Background(), guestOf(conn), nil) })
}

func hello(t *testing.T) string {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("hello to " + r.Host))
	}))
	t.Cleanup(origin.Close)
	return origin.Listener.Addr().String()
}

func TestCurlGetsThroughByEveryVersionThatCarriesNames(t *testing.T) {
	for _, proxy := range [][]string{
		{"--socks5-hostname"},
		{"--proxy-user", "user:pass", "--socks5-hostname"},
		{"--socks5-basic", "--proxy-user", "user:pass", "--socks5-hostname"},
		{"--socks4a"},
	} {
		t.Run(strings.Join(proxy, " "), func(t *testing.T) {
			in := &inside{origin: hello(t)}
			args := append([]string{"-q", "-sS", "--max-time", "20"}, proxy...)
			out, err := runs(t, "curl", append(args, serveDoor(t, in), "http://api.example.com/")...)
			if err != nil || out != "hello to api.example.com" {
				t.Fatalf("%v: %s", err, out)
			}
			if r := in.lastAsked(t); r.Target != name.Must("api.example.com:80") {
				t.Errorf("asked for %+v", r)
			}
		})
	}
}

func TestCurlReadsTheReply(t *testing.T) {
	in := &inside{err: fault.New(fault.PolicyPlainHTTP, "no", nil)}
	out, err := runs(t, "curl", "-q", "-sS", "--max-time", "20", "--socks5-hostname", serveDoor(t, in), "http://api.example.com/")
	if err == nil || !strings.Contains(out, "(2)") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPySocksGetsThrough(t *testing.T) {
	const program = `
import sys
try:
    import socks
except ImportError:
    print("no PySocks"); sys.exit(0)
host, port, kind = sys.argv[1], int(sys.argv[2]), getattr(socks, sys.argv[3])
s = socks.socksocket()
s.set_proxy(kind, host, port, rdns=True, username="user", password="pass" if kind == socks.SOCKS5 else None)
s.connect(("api.example.com", 80))
s.sendall(b"GET / HTTP/1.0\r\nHost: api.example.com\r\n\r\n")
print(s.makefile().read())
`
	for _, kind := range []string{"SOCKS5", "SOCKS4"} {
		t.Run(kind, func(t *testing.T) {
			in := &inside{origin: hello(t)}
			host, port, err := net.SplitHostPort(serveDoor(t, in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := runs(t, "python3", "-c", program, host, port, kind)
			if strings.HasPrefix(out, "no PySocks") {
				t.Skip("PySocks is not installed")
			}
			if err != nil || !strings.Contains(out, "hello to api.example.com") {
				t.Fatalf("%v: %s", err, out)
			}
			if r := in.lastAsked(t); r.Target != name.Must("api.example.com:80") {
				t.Errorf("asked for %+v", r)
			}
		})
	}
}
