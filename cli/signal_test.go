package cli_test

import (
	"regexp"
	"syscall"
	"testing"
)

// echoing is a tunnel to an origin that sends everything back.
func (x *proxy) echoing(t *testing.T) *talk {
	t.Helper()
	c := x.talk(t)
	c.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", x.plain)
	c.until("\r\n\r\n")
	c.say("GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.until("\r\n\r\n")
	return c
}

var stopping = regexp.MustCompile("msg=\"stopping: ")

func (x *proxy) signal(t *testing.T) {
	t.Helper()
	x.stopped = true
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := x.errors.await(stopping, x.ended); err != nil {
		t.Fatal(err)
	}
}

func TestATunnelOutlivesTheFirstSignalAndTheProgramEndsWithIt(t *testing.T) {
	x := startProxy(t, testWorld(t))
	c := x.echoing(t)
	x.signal(t)
	c.say("still here")
	c.until("still here")
	_ = c.conn.Close()
	if code, err := x.end(); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestTheSecondSignalWaitsForNothing(t *testing.T) {
	x := startProxy(t, testWorld(t))
	x.echoing(t)
	x.signal(t)
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := x.end(); code != 128+int(syscall.SIGTERM) || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}
