package wire

import (
	"net"
	"testing"
)

type abortable struct {
	net.Conn
	aborted bool
}

func (a *abortable) Abort() { a.aborted = true }

func TestAHeadInFrontKeepsHowAConnectionIsAborted(t *testing.T) {
	a := &abortable{}
	c, ok := WithHead(a, []byte("early")).(interface{ Abort() })
	if !ok {
		t.Fatal("it cannot be aborted")
	}
	if c.Abort(); !a.aborted {
		t.Error("it is not aborted")
	}
	near, far := net.Pipe()
	defer far.Close()
	WithHead(near, []byte("early")).(interface{ Abort() }).Abort() // which it cannot, and then it does nothing
}
