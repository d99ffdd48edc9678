package daemon

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/event"
	"watertight/fault"
)

// counting counts the requests that it is told of.
type counting struct {
	event.Discard
	n int
}

func (c *counting) Request(*event.Request) { c.n++ }

// TestTestClients_WhatWasDecidedOfTheTestIsToldToNobodyElse, and of clients nothing is remembered.
func TestTestClients_WhatWasDecidedOfTheTestIsToldToNobodyElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c testClients
	conn, err := c.dialled(net.Dial("tcp", l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	others := netip.MustParseAddrPort("127.0.0.1:9")
	told := &counting{}
	sink := ofUsers{told, &c}
	sink.Request(&event.Request{Door: event.DoorTransparent, Client: own, Channel: "direct", Code: fault.PolicyRoute})
	sink.Request(&event.Request{Door: event.DoorTransparent, Client: others, Channel: "direct"})
	if told.n != 1 {
		t.Errorf("clients have made %d requests", told.n)
	}
	if took := c.took(own); took.Door != event.DoorTransparent || took.Channel != "direct" || took.Code != fault.PolicyRoute {
		t.Errorf("%+v", took)
	}
	if took := c.took(others); took.Door != "" {
		t.Errorf("of a client it is remembered that %+v", took)
	}
}

// portOnly is a socket in memory that says where it is.
type portOnly struct {
	net.Conn
	at netip.AddrPort
}

func (p portOnly) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(p.at) }
func (portOnly) Close() error          { return nil }

// TestTestClients_APortIsOthersSoonAfterItsConnectionHasEnded, and the test's again where it gets it once more.
func TestTestClients_APortIsOthersSoonAfterItsConnectionHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c testClients
		at := netip.MustParseAddrPort("127.0.0.1:40000")
		told := &counting{}
		sink := ofUsers{told, &c}
		request := func(want int) {
			t.Helper()
			sink.Request(&event.Request{Door: event.DoorCONNECT, Client: at})
			if told.n != want {
				t.Errorf("clients have made %d requests, and not %d", told.n, want)
			}
		}
		for round := range 2 {
			conn, err := c.dialled(portOnly{at: at}, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			request(round)
			_ = conn.Close()
			request(round) // a door decides later
			time.Sleep(testLate / 2)
			_ = conn.Close() // once more
			time.Sleep(testLate / 2)
			request(round + 1)
		}
		c.forget()
		request(3)
	})
}
