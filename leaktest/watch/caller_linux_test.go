package watch

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestCaller_isTheProcessThatHasTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().(*net.TCPAddr).AddrPort()
	process, uid, ok := Caller(from)
	if !ok || uid != os.Getuid() || !strings.HasSuffix(process, "("+strconv.Itoa(os.Getpid())+")") {
		t.Errorf("%q, %d, %v", process, uid, ok)
	}
	if !HasFarEnd(from) || HasFarEnd(netip.AddrPortFrom(from.Addr(), from.Port()^1)) {
		t.Error("who has not taken a connection yet is the far end of it, and of no other")
	}
	if _, _, ok := Caller(l.Addr().(*net.TCPAddr).AddrPort()); ok {
		t.Error("who listens is no caller")
	}
	c.Close()
	if process, _, ok := Caller(from); ok {
		t.Errorf("%q has a connection that is closed", process)
	}
}
