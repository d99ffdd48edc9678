package socksproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
)

const (
	request5Name = "\x05\x01\x00\x03\x09a.example\x01\xbb"
	granted5     = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	granted4     = "\x00\x5a\x00\x00\x00\x00\x00\x00"
	rejected4    = "\x00\x5b\x00\x00\x00\x00\x00\x00"
)

func reply5(code byte) string {
	return "\x05" + string([]byte{code}) + "\x00\x01\x00\x00\x00\x00\x00\x00"
}

func TestEveryVersionGetsATunnelToTheNameAsItWasSent(t *testing.T) {
	for _, tt := range []struct {
		title string
		talk  []string // what is sent, what is heard, …
		door  event.Door
		want  string
	}{
		{"5", []string{"\x05\x01\x00", "\x05\x00", request5Name, granted5}, event.DoorSOCKS5, "a.example:443"},
		{"5 with a password", []string{"\x05\x01\x02", "\x05\x02", "\x01\x04user\x04pass", "\x01\x00", request5Name, granted5}, event.DoorSOCKS5, "a.example:443"},
		{"5 as .NET", []string{"\x05\x01\x02", "\x05\x02", "\x05\x04user\x04pass", "\x05\x00", request5Name, granted5}, event.DoorSOCKS5, "a.example:443"},
		{"5 with IPv4", []string{"\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", granted5}, event.DoorSOCKS5, "192.0.2.1:80"},
		{"4a", []string{"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.example\x00", granted4}, event.DoorSOCKS4, "a.example:443"},
		{"4", []string{"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00", granted4}, event.DoorSOCKS4, "192.0.2.1:443"},
	} {
		for _, headLen := range []int{0, 1, 2} {
			t.Run(tt.title, func(t *testing.T) {
				in := &inside{origin: echoOrigin(t)}
				conn := open(t, in, headLen)
				for i, text := range tt.talk {
					if i%2 == 0 {
						send(t, conn, text)
					} else {
						expect(t, conn, text)
					}
				}
				send(t, conn, "to and fro")
				expect(t, conn, "to and fro")
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				expectEnd(t, conn)
				r := in.lastAsked(t)
				if r.Door != tt.door || r.Target != name.Must(tt.want) || r.Client.String() != conn.LocalAddr().String() {
					t.Errorf("asked for %+v", r)
				}
			})
		}
	}
}

func TestWhatAClientSendsEarlyIsPassedOn(t *testing.T) {
	for _, whole := range []string{
		"\x05\x01\x00" + request5Name,
		"\x05\x01\x02\x01\x01u\x01p" + request5Name,
		"\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00",
	} {
		early := strings.Repeat("early data ", 500)
		in := &inside{origin: echoOrigin(t)}
		conn := open(t, in, 1)
		send(t, conn, whole+early)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		heard, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(heard), early) {
			t.Errorf("%x: the echo has %d octets, %v", whole, len(heard), err)
		}
	}
}

func TestATunnelIsReportedWithItsOctets(t *testing.T) {
	in := &inside{origin: echoOrigin(t)}
	t.Run("", func(t *testing.T) { // ends when the door has served
		conn := open(t, in, 0)
		send(t, conn, "\x05\x01\x00"+request5Name+"12345")
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn)
	})
	if len(in.tunnels) != 1 || in.tunnels[0].Up != 5 || in.tunnels[0].Down != 5 || in.tunnels[0].Door != event.DoorSOCKS5 {
		t.Errorf("got %+v", in.tunnels)
	}
	if len(in.events) > 0 {
		t.Errorf("the door reported %+v, which the dialer does", in.events)
	}
}

func TestAFailureIsSaidAndThenTheConnectionEndsCleanly(t *testing.T) {
	for code, want := range map[fault.Code]byte{
		fault.DNSNXDomain: 4, fault.DNSTimeout: 4, fault.ConnectRefused: 5, fault.ConnectTimeout: 4,
		fault.ConnectUnreachable: 3, fault.PolicyPrivateTarget: 2, fault.HopAuth: 1, fault.NotReady: 1,
	} {
		in := &inside{err: fault.New(code, "no", nil)}
		five := open(t, in, 0)
		// What comes early and is never read must not turn the end into a reset.
		send(t, five, "\x05\x01\x00"+request5Name+strings.Repeat("early", 2000))
		expect(t, five, "\x05\x00"+reply5(want))
		expectEnd(t, five)
		four := open(t, in, 0)
		send(t, four, "\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00")
		expect(t, four, rejected4)
		expectEnd(t, four)
	}
	in := &inside{err: errors.New("not a fault")}
	conn := open(t, in, 0)
	send(t, conn, "\x05\x01\x00"+request5Name)
	expect(t, conn, "\x05\x00"+reply5(1))
	expectEnd(t, conn)
}

func TestSuccessIsNotSaidBeforeTheFarSideIsConnected(t *testing.T) {
	release := make(chan struct{})
	in := &inside{origin: echoOrigin(t)}
	slow := slowDialer{in, release}
	door, err := New(Options{Dialer: slow, Packets: in, Resolver: in, Relay: in.relay, Sink: in})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, listen(t, func(conn *net.TCPConn) { door.ServeConn(context.Background(), guestOf(conn), nil) }))
	send(t, conn, "\x05\x01\x00"+request5Name)
	expect(t, conn, "\x05\x00")
	release <- struct{}{} // the dialer was called
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a reply came while the far side was not connected")
	}
	_ = conn.SetReadDeadline(time.Time{})
	release <- struct{}{}
	expect(t, conn, granted5)
	conn.Close()
}

type slowDialer struct {
	*inside
	release chan struct{}
}

func (s slowDialer) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	<-s.release
	<-s.release
	return s.inside.Dial(ctx, r)
}

func TestARequestThatIsWrongIsAnsweredAndReported(t *testing.T) {
	tooLong := "\x05\x01\x00\x03\xff" + strings.Repeat("a.", 127) + "a\x01\xbb"
	for _, tt := range []struct {
		title, sent, heard string
		reported           int
	}{
		{"bind", "\x05\x01\x00\x05\x02\x00\x03\x09a.example\x01\xbb", "\x05\x00" + reply5(7), 1},
		{"address type", "\x05\x01\x00\x05\x01\x00\x02\x00\x00\x00\x00", "\x05\x00" + reply5(8), 1},
		{"no method", "\x05\x01\x01", "\x05\xff", 1},
		{"password message", "\x05\x01\x02\x07\x01u\x01p", "\x05\x02\x01\x01", 1},
		{"long name", "\x05\x01\x00" + tooLong, "\x05\x00" + reply5(1), 1},
		{"empty name", "\x05\x01\x00\x05\x01\x00\x03\x00\x01\xbb", "\x05\x00" + reply5(1), 1},
		{"port 0", "\x05\x01\x00\x05\x01\x00\x03\x09a.example\x00\x00", "\x05\x00" + reply5(1), 1},
		{"version 4, port 0", "\x04\x01\x00\x00\xc0\x00\x02\x01\x00", rejected4, 1},
		{"version 4, bind", "\x04\x02\x00\x50\xc0\x00\x02\x01\x00", rejected4, 1},
		{"version 4, endless user", "\x04\x01\x00\x50\xc0\x00\x02\x01" + strings.Repeat("u", 3000), rejected4, 1},
		{"version 6", "\x06", "", 1},
		{"nothing", "", "", 0},
		{"half a request", "\x05\x01\x00\x05\x01", "\x05\x00", 0},
	} {
		in := &inside{err: errors.New("must not be asked")}
		t.Run(tt.title, func(t *testing.T) {
			conn := open(t, in, 0)
			send(t, conn, tt.sent)
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect(t, conn, tt.heard)
			expectEnd(t, conn)
		})
		if len(in.asked) > 0 {
			t.Errorf("%s: asked for %+v", tt.title, in.asked)
		}
		if len(in.events) != tt.reported || slices.ContainsFunc(in.events, func(e event.Request) bool { return e.Code != fault.BadRequest }) {
			t.Errorf("%s: reported %+v", tt.title, in.events)
		}
	}
}

func TestARefusedClientThatIsStillSpeakingIsHeardOut(t *testing.T) {
	in := &inside{err: fault.New(fault.DNSNXDomain, "no", nil)}
	conn := open(t, in, 0)
	send(t, conn, "\x05\x01\x00"+request5Name)
	expect(t, conn, "\x05\x00"+reply5(4))
	expectEnd(t, conn)
	for range 2000 { // a socket that was closed resets at the first of them
		send(t, conn, "0123456789")
	}
}

func TestARefusedClientThatNeverStopsSpeakingIsCutOff(t *testing.T) {
	in := &inside{err: fault.New(fault.DNSNXDomain, "no", nil)}
	conn, _, served := openLingering(t, in)
	send(t, conn, "\x05\x01\x00"+request5Name)
	for {
		if _, err := conn.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	<-served
}

// openLingering is open with a door that never gives up by itself, a way to cancel its context, and a channel that is
// closed when the client was served.
func openLingering(t *testing.T, in *inside) (*net.TCPConn, context.CancelFunc, chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	door := newDoor(t, in, time.Hour)
	door.linger = time.Hour
	served := make(chan struct{})
	return dial(t, listen(t, func(conn *net.TCPConn) {
		door.ServeConn(ctx, guestOf(conn), nil)
		close(served)
	})), cancel, served
}

func TestASlowClientIsCutOffAndReported(t *testing.T) {
	for sent, reported := range map[string]int{"": 0, "\x05": 1, "\x05\x01\x00\x05\x01": 1, "\x04\x01\x00\x50\xc0\x00\x02\x01me": 1} {
		in := &inside{err: errors.New("must not be asked")}
		door := newDoor(t, in, 20*time.Millisecond)
		door.linger = time.Hour
		served := make(chan struct{})
		conn := dial(t, listen(t, func(conn *net.TCPConn) {
			door.ServeConn(context.Background(), guestOf(conn), nil)
			close(served)
		}))
		send(t, conn, sent)
		<-served // though the client never ends its side
		if len(in.events) != reported || len(in.asked) > 0 {
			t.Errorf("%x: reported %+v, asked %+v", sent, in.events, in.asked)
		}
	}
}

func TestCancellingEndsTheHandshakeAndTheFarewell(t *testing.T) {
	for _, tt := range []struct{ sent, heard string }{
		{"\x05", ""},
		{"\x05\x01\x00" + request5Name, "\x05\x00" + reply5(4)}, // and the client keeps its side open
	} {
		in := &inside{err: fault.New(fault.DNSNXDomain, "no", nil)}
		conn, cancel, served := openLingering(t, in)
		send(t, conn, tt.sent)
		expect(t, conn, tt.heard)
		cancel()
		<-served
	}
}

func TestADoorWithAPartMissingIsAnError(t *testing.T) {
	in := &inside{}
	whole := Options{Dialer: in, Packets: in, Resolver: in, Relay: in.relay, Sink: in}
	for title, take := range map[string]func(*Options){
		"dialer":   func(o *Options) { o.Dialer = nil },
		"packets":  func(o *Options) { o.Packets = nil },
		"resolver": func(o *Options) { o.Resolver = nil },
		"relay":    func(o *Options) { o.Relay = nil },
		"sink":     func(o *Options) { o.Sink = nil },
		"time":     func(o *Options) { o.Handshake = -1 },
	} {
		o := whole
		take(&o)
		if d, err := New(o); err == nil || d != nil {
			t.Errorf("%s: no error", title)
		}
	}
}
