package wire

import (
	"io"
	"net"
	"testing"
)

// sockets gives both ends of a connection on the loopback.
func sockets(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestAConnectionWithoutAHeadIsNotWrapped(t *testing.T) {
	near, _ := sockets(t)
	pipe, _ := net.Pipe()
	for _, conn := range []net.Conn{near, pipe} {
		if got := WithHead(conn, nil); got != conn {
			t.Errorf("%T became %T", conn, got)
		}
	}
}

func TestAHeadThatWasReadLeavesTheBareSocket(t *testing.T) {
	near, _ := sockets(t)
	headed := WithHead(near, []byte("ab"))
	if _, err := io.ReadFull(headed, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if got := WithHead(headed, nil); got != net.Conn(near) {
		t.Errorf("got a %T", got)
	}
}

func TestAHeadComesBeforeTheRestAndInOrder(t *testing.T) {
	socket, farSocket := sockets(t)
	pipe, farPipe := net.Pipe()
	for _, ends := range [][2]net.Conn{{socket, farSocket}, {pipe, farPipe}} {
		go func() {
			_, _ = io.WriteString(ends[1], "ef")
			ends[1].Close()
		}()
		// "abcd" was read ahead; then "ab" was read of that and is put back.
		conn := WithHead(ends[0], []byte("abcd"))
		if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		conn = WithHead(conn, []byte("ab"))
		if got, err := io.ReadAll(conn); err != nil || string(got) != "abcdef" {
			t.Errorf("%T: got %q, %v", conn, got, err)
		}
	}
}

func TestTheEndOfOneWayReachesTheOtherSideOfAPipe(t *testing.T) {
	near, far := net.Pipe()
	go func() { _ = WithHead(near, []byte("a")).(interface{ CloseWrite() error }).CloseWrite() }()
	if n, err := far.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("got %d, %v", n, err)
	}
}
