package daemon

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/config"
)

// passed is a socket as the service manager passes it.
func passed(t *testing.T) *net.TCPListener {
	t.Helper()
	socket, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

func listenOn(proxies ...netip.AddrPort) config.Listen {
	var c config.Listen
	for _, at := range proxies {
		c.Proxy = append(c.Proxy, config.ProxyListener{Listener: config.Listener{Address: at}})
	}
	return c
}

// accepts wants a socket to take a connection.
func accepts(t *testing.T, socket *net.TCPListener) {
	t.Helper()
	conn, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = socket.SetDeadline(time.Now().Add(limit))
	in, err := socket.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	in.Close()
}

func TestASocketOfTheServiceManager_OutlivesConfigurations_AndThoseThatFail(t *testing.T) {
	socket := passed(t)
	at := socket.Addr().(*net.TCPAddr).AddrPort()
	given, err := passedListeners(map[string][]*net.TCPListener{"proxy": {socket}})
	if err != nil {
		t.Fatal(err)
	}
	taken := passed(t).Addr().(*net.TCPAddr).AddrPort()
	other := freePort(t)
	now := given
	for range 2 {
		if _, err := openListeners(wishes{Listen: listenOn(at, other, taken)}, now); err == nil {
			t.Fatal("a port that is taken was opened")
		}
		accepts(t, socket)
		if listens(other) {
			t.Error("a listener of the configuration that failed is open")
		}
		for _, c := range []config.Listen{listenOn(other), listenOn(at, other), listenOn(at)} {
			next, err := openListeners(wishes{Listen: c}, now)
			if err != nil {
				t.Fatal(err)
			}
			now.closeUnless(next)
			now = next
			if n := len(now.all); n != len(c.Proxy) && (n != 2 || c.Proxy[0].Address == at) {
				t.Errorf("%d listeners for %v", n, c.Proxy)
			}
			accepts(t, socket)
		}
	}
	now.closeUnless(nil)
	if listens(at) || listens(other) {
		t.Error("it still listens")
	}
}

func TestASocketOfTheServiceManager_WithANameThatSaysNothing_IsAnError(t *testing.T) {
	socket, strange := passed(t), passed(t)
	_, err := passedListeners(map[string][]*net.TCPListener{"admin": {socket}, "unknown": {strange}})
	if err == nil || !strings.Contains(err.Error(), `"unknown"`) || !strings.Contains(err.Error(), "FileDescriptorName=proxy") {
		t.Errorf("it gave %v", err)
	}
	for _, s := range []*net.TCPListener{socket, strange} {
		if listens(s.Addr().(*net.TCPAddr).AddrPort()) {
			t.Error("a socket was left open, and nobody serves it")
		}
	}
}

// manager is a service manager that is told what the program does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func told(t *testing.T, m *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	what, _, _ := strings.Cut(string(b[:n]), "\n")
	return what
}

func TestTheServiceManager_IsNotToldOfAReadyProgram_ByAReloadBeforeItIs(t *testing.T) {
	m := manager(t)
	dead := freePort(t)
	l := newLive(t, "channels: {direct: {resolver: {upstreams: [{url: \"tls://"+dead.String()+"\", ca: \""+caFile+"\"}]}}}\n").start()
	if err := l.reload("listen: [\n"); err == nil {
		t.Error("a broken configuration was taken")
	}
	l.mustReload("")
	l.awaitReady()
	if got := told(t, m); got != "READY=1" {
		t.Errorf("first it was told %q", got)
	}
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if got := told(t, m); got != "STOPPING=1" {
		t.Errorf("a reload before the start was complete told %q", got)
	}
}

func TestTheServiceManager_IsToldOfReloads_AlsoOfThoseThatFail(t *testing.T) {
	m := manager(t)
	l := newLive(t, "").start().awaitReady()
	if got := told(t, m); got != "READY=1" {
		t.Fatalf("it was told %q", got)
	}
	for _, more := range []string{"", "listen: [\n"} {
		_ = l.reload(more)
		if got := []string{told(t, m), told(t, m)}; got[0] != "RELOADING=1" || got[1] != "READY=1" {
			t.Errorf("it was told %q", got)
		}
	}
}
