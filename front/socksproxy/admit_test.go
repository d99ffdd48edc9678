package socksproxy

import (
	"context"
	"net"
	"testing"

	"watertight/client"
	"watertight/fault"
	"watertight/gate"
)

func TestTheUserOfAClientIsForWhomItsRequestIs(t *testing.T) {
	for talk, want := range map[string]client.Identity{
		"\x05\x01\x00" + request5Name:                                             {},
		"\x05\x02\x00\x02\x01\x0falice-session-1\x01p" + request5Name:             {User: "alice", Session: "1"},
		"\x05\x01\x02\x05\x05alice\x00" + request5Name:                            {User: "alice"},
		"\x04\x01\x01\xbb\x00\x00\x00\x01alice-country-DE\x00a.example\x00":       {User: "alice", Country: "de"},
		"\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00":                       {},
		"\x05\x02\x00\x02\x01\x05alice\x01p\x05\xf0\x00\x03\x09a.example\x00\x00": {User: "alice"},
	} {
		in := &inside{origin: echoOrigin(t), err: fault.New(fault.ConnectRefused, "no", nil)}
		conn := open(t, in, 0)
		send(t, conn, talk)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		hear(conn)
		if got := in.lastAsked(t).Identity; got != want {
			t.Errorf("%q: %+v", talk, got)
		}
	}
}

func hear(conn net.Conn) string {
	var all []byte
	for buf := make([]byte, 256); ; {
		n, err := conn.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all)
		}
	}
}

func TestWithoutProofNothingIsDialled_AndWhyIsReported(t *testing.T) {
	line, err := gate.NewLine("alice", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	users, err := gate.ParseUsers([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	rules := func() *gate.Rules { return gate.Guarded(users, nil) }
	for _, tt := range []struct {
		talk, heard string
		code        fault.Code // empty: it is let in
	}{
		{"\x05\x01\x00" + request5Name, "\x05\xff", fault.AuthRequired},
		{"\x05\x02\x00\x02\x01\x05alice\x05wrong" + request5Name, "\x05\x02\x01\x01", fault.AuthRequired},
		{"\x05\x02\x00\x02\x01\x03bob\x06s3cret" + request5Name, "\x05\x02\x01\x01", fault.AuthRequired},
		{"\x05\x01\x02\x01\x0ealice-session-\x06s3cret" + request5Name, "\x05\x02\x01\x01", fault.BadRequest},
		{"\x04\x01\x01\xbb\x00\x00\x00\x01alice\x00a.example\x00", rejected4, fault.AuthRequired},
		{"\x05\x02\x00\x02\x01\x05alice\x06s3cret" + request5Name, "\x05\x02\x01\x00" + reply5(5), ""},
	} {
		in := &inside{err: fault.New(fault.ConnectRefused, "no", nil)}
		door, err := New(Options{Dialer: in, Packets: in, Resolver: in, Relay: in.relay, Sink: in})
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, listen(t, func(conn *net.TCPConn) {
			door.ServeConn(context.Background(), gate.NewGuest(conn, gate.NewKeeper(), rules), nil)
		}))
		send(t, conn, tt.talk)
		if heard := hear(conn); heard != tt.heard {
			t.Errorf("%q: heard %q", tt.talk, heard)
		}
		in.mu.Lock()
		if (len(in.asked) > 0) != (tt.code == "") || tt.code != "" && (len(in.events) != 1 || in.events[0].Code != tt.code) {
			t.Errorf("%q: asked %+v, reported %+v", tt.talk, in.asked, in.events)
		}
		in.mu.Unlock()
	}
}
