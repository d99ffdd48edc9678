package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"watertight/contain"
	"watertight/guard"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

func TestMain(m *testing.M) { lab.Main(m) }

// host is a network of its own, with one device that leads out.
type host struct {
	t    *testing.T
	net  *contain.Net
	file string
}

func newHost(t *testing.T) host {
	t.Helper()
	lab.Need(t, "nft")
	lab.Inside(t)
	n := lab.Must(contain.NewNet())(t)
	t.Cleanup(func() { _ = n.Close() })
	h := host{t, n, filepath.Join(t.TempDir(), "guard.json")}
	h.device("out0")
	h.do(func() error {
		l, err := netlink.LinkByName("out0")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, lab.Must(netlink.ParseAddr("203.0.113.1/24"))(t)); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Scope: netlink.SCOPE_LINK})
	})
	return h
}

func (h host) do(fn func() error) {
	h.t.Helper()
	if err := h.net.Do(fn); err != nil {
		h.t.Fatal(err)
	}
}

func (h host) device(name string) {
	h.t.Helper()
	h.do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}); err != nil {
			return err
		}
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
}

// firewall has nft do something, and gives what it writes.
func (h host) firewall(args ...string) string {
	h.t.Helper()
	var out string
	h.do(func() (err error) {
		out, err = nft(h.t.Context(), args...)
		return err
	})
	return out
}

func (h host) guard() *guard.Guard { return guard.New(guard.Options{File: h.file}) }

func (h host) rules() guard.Rules {
	r := guard.Rules{Mark: 119, Allow: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("10.0.0.0/8")}}
	h.do(func() (err error) {
		r.Uplinks, err = guard.Uplinks()
		return err
	})
	return r
}

func (h host) on(g *guard.Guard) {
	h.t.Helper()
	h.do(func() error { return g.On(h.t.Context(), h.rules()) })
}

func (h host) look(g *guard.Guard) (s guard.State) {
	h.t.Helper()
	h.do(func() (err error) {
		s, err = g.Look(h.t.Context())
		return err
	})
	return s
}

func (h host) restore(g *guard.Guard) (restored bool) {
	h.t.Helper()
	h.do(func() (err error) {
		restored, err = g.Restore(h.t.Context())
		return err
	})
	return restored
}

func TestItIsArmedReadBackAndDisarmedAndOthersRulesStay(t *testing.T) {
	h := newHost(t)
	h.firewall("add", "table", "inet", "others")
	if s := h.look(h.guard()); s.Armed || s.Held || s.Why != "" {
		t.Errorf("before: %+v", s)
	}
	if h.restore(h.guard()) {
		t.Error("it was armed by whoever only mends")
	}
	for range 2 {
		h.on(h.guard())
		s := h.look(h.guard())
		if !s.Armed || !s.Held || s.Mark != 119 || !slices.Equal(s.Uplinks, []string{"out0"}) || !slices.Equal(s.Allow, h.rules().Allow) || time.Since(s.Since).Abs() > time.Hour {
			t.Errorf("it is on, and found to be %+v", s)
		}
		if h.restore(h.guard()) {
			t.Error("it was armed again, and held")
		}
	}
	for range 2 {
		h.do(func() error { return h.guard().Off(t.Context()) })
		if s := h.look(h.guard()); s.Armed || s.Held || s.Why != "" {
			t.Errorf("it is off, and found to be %+v", s)
		}
	}
	if got := strings.TrimSpace(h.firewall("list", "tables")); got != "table inet others" {
		t.Errorf("the tables are %q", got)
	}
}

func TestWhateverIsChangedIsSeenAndMended(t *testing.T) {
	h := newHost(t)
	g := h.guard()
	h.on(g)
	for _, change := range []string{
		"flush ruleset", "delete table netdev watertight_guard", "insert rule inet watertight_guard output accept",
		"add element inet watertight_guard allow4 { 8.8.8.8 }", "add chain inet watertight_guard output { policy accept; }",
		"insert rule netdev watertight_guard egress accept", "flush chain netdev watertight_guard egress",
	} {
		h.firewall(strings.Split(change, " ")...)
		if s := h.look(g); !s.Armed || s.Held || s.Why == "" {
			t.Errorf("%s: it is found to be %+v", change, s)
		}
		if !h.restore(g) {
			t.Errorf("%s: it was not mended", change)
		}
	}
	if s := h.look(h.guard()); !s.Held {
		t.Errorf("it was mended, and is found to be %+v", s)
	}
	h.device("other0")
	h.do(func() error {
		l, err := netlink.LinkByName("other0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Scope: netlink.SCOPE_LINK, Priority: 7})
	})
	if s := h.look(g); s.Held || !strings.Contains(s.Why, "other0 is not looked at") {
		t.Errorf("another device leads out, and it is found to be %+v", s)
	}
	if !h.restore(g) || !h.look(g).Held {
		t.Error("another device leads out, and it was not mended")
	}
}

func TestTablesThatNobodyAskedForAreTold(t *testing.T) {
	h := newHost(t)
	h.on(h.guard())
	if err := os.Remove(h.file); err != nil {
		t.Fatal(err)
	}
	if s := h.look(h.guard()); s.Armed || s.Held || !strings.Contains(s.Why, "is gone") {
		t.Errorf("it is found to be %+v", s)
	}
}

// Whoever is killed while arming leaves a file that says what should hold, and has not yet said what came of it.
func TestAnArmingThatWasCutShortIsFinished(t *testing.T) {
	h := newHost(t)
	text := `{"version": 1, "since": "2026-01-02T03:04:05Z", "mark": 119, "allow": [], "digest": ""}`
	if err := os.WriteFile(h.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := h.look(h.guard()); !s.Armed || s.Held {
		t.Errorf("it is found to be %+v", s)
	}
	if !h.restore(h.guard()) || !h.look(h.guard()).Held {
		t.Error("it was not finished")
	}
	lab.Must(0, os.WriteFile(h.file, []byte(text[:30]), 0o644))(t)
	for name, fn := range map[string]func(g *guard.Guard) error{
		"look":    func(g *guard.Guard) error { _, err := g.Look(t.Context()); return err },
		"restore": func(g *guard.Guard) error { _, err := g.Restore(t.Context()); return err },
	} {
		if err := h.net.Do(func() error { return fn(h.guard()) }); err == nil || !strings.Contains(err.Error(), "guard on` writes it anew") {
			t.Errorf("%s, with a file that is torn: %v", name, err)
		}
	}
	h.on(h.guard())
	if !h.look(h.guard()).Held {
		t.Error("a file that is torn is not written anew")
	}
}

// Where the file may not be written, as by a service that is not root, what was read back is remembered.
func TestWhereItCannotBeNotedItIsArmedAgainOnce(t *testing.T) {
	h := newHost(t)
	text := `{"version": 1, "since": "2026-01-02T03:04:05Z", "mark": 119, "allow": [], "digest": "of another nft"}`
	if err := os.WriteFile(h.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(h.file, h.file, "", unix.MS_BIND, ""); err != nil { // so that nothing can take its place
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Must(0, unix.Unmount(h.file, unix.MNT_DETACH))(t) })
	g := h.guard()
	err := h.net.Do(func() error {
		restored, err := g.Restore(t.Context())
		if !restored {
			t.Errorf("it was not armed again: %v", err)
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "takes for others") {
		t.Errorf("that it could not be noted is not said: %v", err)
	}
	if h.restore(g) || !h.look(g).Held {
		t.Error("it is armed again and again")
	}
	if s := h.look(h.guard()); s.Held {
		t.Errorf("another one knows of it: %+v", s)
	}
}

func TestWhatGoesWrongIsSaidAndChangesNothing(t *testing.T) {
	h := newHost(t)
	fake := func(script string) string {
		path := filepath.Join(t.TempDir(), "nft")
		lab.Must(0, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))(t)
		return path
	}
	none := "cat >/dev/null;"
	for name, c := range map[string]struct{ script, want string }{
		"no right":              {none + `echo "Error: Could not process rule: Operation not permitted" >&2; exit 1`, "for root alone"},
		"an old kernel":         {none + `echo "Error: Could not process rule: Operation not supported" >&2; exit 1`, "Linux 5.16"},
		"no answer":             {none + "exit 3", "exit status 3"},
		"an endless answer":     {"exec yes", "more than"},
		"loaded, and then gone": {none, "cannot be read back"},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard.New(guard.Options{File: h.file, Nft: fake(c.script)})
			err := h.net.Do(func() error { return g.On(t.Context(), h.rules()) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, and not %q", err, c.want)
			}
			_, there := os.Stat(h.file)
			if armed := errors.As(err, new(*guard.KeptError)); armed != (there == nil) {
				t.Errorf("armed: %v; the file: %v", armed, there)
			}
			_ = os.Remove(h.file)
		})
	}
	missing := guard.New(guard.Options{File: h.file, Nft: "/nowhere/nft"})
	if err := h.net.Do(func() error { return missing.On(t.Context(), h.rules()) }); err == nil || !strings.Contains(err.Error(), "/nowhere/nft") {
		t.Errorf("no nft: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.net.Do(func() error { return h.guard().On(ctx, h.rules()) }); !errors.Is(err, context.Canceled) {
		t.Errorf("an end before it begins: %v", err)
	}
	bad := h.rules()
	bad.Mark = 0
	if err := h.net.Do(func() error { return h.guard().On(t.Context(), bad) }); err == nil || !strings.Contains(err.Error(), "mark is 0") {
		t.Errorf("no mark: %v", err)
	}
	h.on(h.guard())
	for script, want := range map[string]string{"echo gibberish": "cannot be read", "exec yes": "more than"} {
		if s := h.look(guard.New(guard.Options{File: h.file, Nft: fake(script)})); s.Held || !s.Armed || !strings.Contains(s.Why, want) {
			t.Errorf("what is told cannot be read, and it is found to be %+v", s)
		}
	}
	before := string(lab.Must(os.ReadFile(h.file))(t))
	g := guard.New(guard.Options{File: h.file, Nft: fake(none + "exit 1")})
	if err := h.net.Do(func() error { return g.On(t.Context(), h.rules()) }); err == nil {
		t.Error("what is not loaded is taken for loaded")
	}
	if after := string(lab.Must(os.ReadFile(h.file))(t)); after == "" || !h.look(h.guard()).Held {
		t.Errorf("it was on, and what should hold was\n%s\nand is\n%s", before, after)
	}
}

func TestCountersOutliveWhatIsMended(t *testing.T) {
	h := newHost(t)
	g := h.guard()
	h.on(g)
	_ = h.net.Do(func() error {
		conn, err := wire.Dialer{}.DialPacketAddr(t.Context(), netip.MustParseAddrPort("198.51.100.7:4433"))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return err
	})
	if n := h.look(g).Counters.Other; n != 1 {
		t.Fatalf("one packet was refused, and %d were counted", n)
	}
	h.firewall("flush", "chain", "inet", "watertight_guard", "output")
	if !h.restore(g) || h.look(g).Counters.Other != 1 {
		t.Error("what was counted is forgotten")
	}
}

func nft(ctx context.Context, args ...string) (string, error) {
	path, err := internet.Find("nft")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}
