package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"watertight/config"
	"watertight/dnswire"
	"watertight/gate"
	"watertight/name"
	"watertight/wire"
)

// withoutRights calls f on a thread that may do nothing special, and throws the thread away.
func withoutRights(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func TestAMarkThatMayNotBePutIsRefusedAtTheStart(t *testing.T) {
	w := &world{t: t}
	for conf, refused := range map[string]bool{
		"{listen: {transparent: [{address: \"127.0.0.1:8081\", mark: 119}]}}": true,
		"{listen: {transparent: [\"127.0.0.1:8081\"]}}":                       false,
		"{guard: {}}": true,
		"{}":          false,
	} {
		c := w.parse(conf)
		err := withoutRights(t, func() error { return mayMark(c) })
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("%s: %v", conf, err)
		}
	}
}

// What opens channels by itself marks what it sends where there is a guard, and sends nothing where it may not.
func TestACommandMarksWhatItSendsWhereThereIsAGuard(t *testing.T) {
	w := &world{t: t}
	guarded, port, plain := w.parse("{guard: {}}"), w.parse("{guard: {}, listen: {transparent: {address: \"127.0.0.1:8081\", mark: 7}}}"), w.parse("{}")
	if err := wire.MayMark(config.GuardMark); err == nil {
		for c, want := range map[*config.Config]wire.Dialer{guarded: {Mark: config.GuardMark}, port: {Mark: 7}, plain: {}} {
			if got, err := groundFor(c, wire.Dialer{}); err != nil || got != want {
				t.Errorf("mark %d: %+v, %v", c.Mark(), got, err)
			}
		}
	}
	if _, err := marked(nowhere{}, 7); err == nil {
		t.Error("a ground without marks is taken")
	}
	log, host := slog.New(slog.DiscardHandler), name.MustHost("www.example.com")
	for what, send := range map[string]func() error{
		"resolve": func() error {
			_, err := Resolve(t.Context(), guarded, "", "", host, []dnswire.Type{dnswire.A}, log)
			return err
		},
		"through": func() error {
			return Through(t.Context(), guarded, "", "", host, log, func(context.Context, *Way) error {
				t.Error("it is opened")
				return nil
			})
		},
		"exec": func() error {
			_, err := newHold(ExecOptions{Load: func() (*config.Config, error) { return guarded, nil }, Ground: wire.Dialer{}, Log: func(*config.Config) *slog.Logger { return log }})
			return err
		},
	} {
		if err := withoutRights(t, send); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || !strings.Contains(err.Error(), "guard: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAReloadThatWouldChangeTheMarkIsRefused(t *testing.T) {
	w := &world{t: t}
	const marked = "listen: {transparent: {address: \"127.0.0.1:8081\", mark: 7}}"
	for _, c := range []struct {
		before, after string
		refused       string
	}{
		{"{}", "{guard: {}}", "`guard`"},
		{"{guard: {}}", "{}", "`guard`"},
		{"{guard: {}}", "{guard: {allow: 10.0.0.0/8}}", ""},
		{"{" + marked + "}", "{" + marked + ", guard: {}}", ""},
		{"{" + marked + "}", "{listen: {transparent: {address: \"127.0.0.1:8081\", mark: 8}}}", "`listen.transparent`"},
		{"{guard: {}}", "{guard: {}, " + marked + "}", "`listen.transparent`"},
	} {
		d := &Daemon{o: Options{Config: w.parse(c.before)}}
		err := d.sameMark(w.parse(c.after))
		if (c.refused != "") != (err != nil) || err != nil && (!strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "restart")) {
			t.Errorf("from %s to %s: %v", c.before, c.after, err)
		}
	}
}

func TestListenersMarkWhatTheySend(t *testing.T) {
	if err := wire.MayMark(config.GuardMark); errors.Is(err, unix.EPERM) {
		t.Skip("a mark takes CAP_NET_ADMIN")
	}
	at := func() config.Listener { return config.Listener{Address: netip.MustParseAddrPort("127.0.0.1:0")} }
	given, err := wire.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	passed := &listeners{done: &sync.WaitGroup{}, all: []*listener{{kind: kindProxy, socket: given, passed: true}}}
	if err := passed.mark(config.GuardMark); err != nil {
		t.Fatal(err)
	}
	all, err := openListeners(wishes{keeper: gate.NewKeeper(), mark: config.GuardMark, Listen: config.Listen{
		Proxy: []config.ProxyListener{{Listener: at(), H3: true}}, Admin: []config.AdminListener{{Listener: at()}},
		DNS: []config.DNSListener{{Listener: at()}}, Gateway: []config.GatewayListener{{Listener: at()}},
		Transparent: []config.TransparentListener{{Listener: at(), Mode: config.ModeRedirect}, {Listener: at(), Mode: config.ModeTPROXY, UDP: true}},
	}}, passed)
	if err != nil {
		t.Fatal(err)
	}
	defer all.closeUnless(nil)
	packets := 0
	for _, l := range all.all {
		var sockets []syscall.Conn
		if l.socket != nil {
			sockets = append(sockets, l.socket)
		}
		if l.packets != nil {
			sockets = append(sockets, l.packets)
			packets++
		}
		for _, s := range sockets {
			raw, err := s.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			mark := 0
			if cerr := raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }); cerr != nil || err != nil {
				t.Fatal(cerr, err)
			}
			if mark != config.GuardMark {
				t.Errorf("%s %s, %T: the mark is %d", l.kind, l.scheme, s, mark)
			}
		}
	}
	if len(all.all) != 7 || packets != 3 {
		t.Errorf("%d listeners, %d of them with datagrams", len(all.all), packets)
	}
}
