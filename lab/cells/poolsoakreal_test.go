package cells

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/capture"
	"watertight/cli"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/wire"
)

// soakedRole is the program, which leaves its goroutines in its home directory four times a second: how many, and
// what they do.
const soakedRole = "soaked"

func soaked(args []string) int {
	home := os.Getenv("HOME")
	leave := func(name string, b []byte) {
		path := filepath.Join(home, name)
		if os.WriteFile(path+".new", b, 0o644) == nil {
			_ = os.Rename(path+".new", path)
		}
	}
	go func() {
		for range time.Tick(250 * time.Millisecond) {
			leave("goroutines", fmt.Append(nil, runtime.NumGoroutine()))
			var b strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // this one is counted before and after
			leave("stacks", []byte(b.String()))
		}
	}()
	return counted(func() int { return cli.Main(args, os.Stdin, os.Stdout, os.Stderr) })
}

// holdings are what a running program has.
type holdings struct{ goroutines, descriptors int }

func (h holdings) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors", h.goroutines, h.descriptors)
}

// holds reads what the program has. What cannot be read is an endless amount, which no test takes for nothing.
func holds(in *internet.Internet, p *internet.Process) holdings {
	h := holdings{1 << 30, 1 << 30}
	text, err := os.ReadFile(filepath.Join(in.Dir, "goroutines"))
	if n, parsed := strconv.Atoi(string(text)); err == nil && parsed == nil {
		h.goroutines = n
	}
	if list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID())); err == nil {
		h.descriptors = len(list)
	}
	return h
}

func (h holdings) exceeds(other holdings) bool {
	return h.goroutines > other.goroutines || h.descriptors > other.descriptors
}

// steady waits until what the program has stays the same: what a start leaves behind would be forgiven at the end.
func steady(in *internet.Internet, p *internet.Process) holdings {
	last := holds(in, p)
	for same := 0; same < 100; same++ {
		time.Sleep(pollEvery)
		if now := holds(in, p); now != last {
			last, same = now, 0
		}
	}
	return last
}

// config is the program's configuration. With another time-out of the lower channel, a reload makes both anew:
// an identity has a part of each.
func (s *poolSoak) config(timeout string) string {
	return fmt.Sprintf(`listen: {proxy: %q, admin: %q}
channels:
  direct: {resolver: {timeout: %[4]s, upstreams: [{url: "tls://%[7]v", ca: %[6]q}]}}
  pool:
    proxy: {list: %[3]q, pick: random, sticky: {by: session, for: 20s}, health: {every: 60s, timeout: 2s}}
    resolver: {timeout: 5s, upstreams: [{url: "tls://%[5]v", ca: %[6]q}]}
routes: [{to: "*", channel: pool}]
`, lab.ProxyAddress, lab.AdminAddress, s.list, timeout, soakResolver, filepath.Join(s.in.Dir, "ca.pem"), soakBelow)
}

// The pool of the real program loses and regains members at random, in real time: no request and no question goes on a wrong
// identity, none outside the pool, and the program has nothing left at the end. WATERTIGHT_SOAK_REAL=1h makes it an
// hour; without it there are seconds of it.
func TestSoak_TheRealProgramUnderAPoolsChurnMixesNobodyUp(t *testing.T) {
	lasts := soakShort
	if text := os.Getenv(soakVar); text != "" {
		lasts = lab.Must(time.ParseDuration(text))(t)
	} else {
		t.Logf("this soak lasts %v: %s=1h makes it the hour that it is meant for", lasts, soakVar)
	}
	in := lab.New(t, internet.V4)
	s := &poolSoak{
		t: t, in: in, list: filepath.Join(in.Dir, "members"), bad: map[string]int{},
		resolver: make(chan net.Conn), done: make(chan struct{}),
	}
	if err := os.WriteFile(filepath.Join(in.Dir, "ca.pem"), in.CA.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	defer s.serveNames()()
	for i := range s.members {
		s.members[i] = &soakMember{open: map[net.Conn]bool{}}
	}
	s.each(soakAlive)
	defer s.each(soakGone)
	s.write(soakMembers)

	path := filepath.Join(in.Dir, "watertight.yaml")
	rewrite := func(timeout string) {
		if err := os.WriteFile(path, []byte(s.config(timeout)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite("5s")
	if err := in.Client.AwaitLink(t.Context()); err != nil {
		t.Fatal(err)
	}
	program := lab.Must(lab.Self(in.Client, soakedRole, "run", "-c", path).Start(t.Context()))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("watertight wrote:\n%.20000s", program.Sofar().Text())
		}
	})
	lab.Must(program.AwaitOutput(t.Context(), "ready:"))(t)
	await(t, "the program tells of its goroutines", func() bool { return holds(in, program).goroutines < 1<<30 })
	before := steady(in, program)

	s.run(lasts)
	at := holds(in, program)
	s.idle()

	// A reload makes the channels anew and closes those that the identities used: the program has what it had at first.
	rewrite("6s")
	if err := program.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(time.Minute)
	now := holds(in, program)
	for ; now.exceeds(before) && time.Now().Before(limit); now = holds(in, program) {
		time.Sleep(pollEvery)
	}
	if now.exceeds(before) {
		stacks, _ := os.ReadFile(filepath.Join(in.Dir, "stacks"))
		t.Errorf("before: %v; after: %v\n%.20000s", before, now, stacks)
	}
	in.StopPrograms()
	if r := program.Wait(); r.Code != 0 {
		t.Errorf("it ended with %d", r.Code)
	}
	if n, err := os.ReadFile(filepath.Join(in.Dir, trapFile)); err == nil {
		t.Errorf("the program reached for the host's resolver or net/http's default client %s times", n)
	}
	outside := capture.Strangers(lab.Must(in.Packets())(t), nil)
	for _, p := range outside[:min(len(outside), 5)] {
		t.Errorf("outside of the host: %v", p)
	}
	bad := 0
	for _, n := range s.bad {
		bad += n
	}
	if s.good < (s.good+bad)*3/4 || s.good < soakIdentities {
		t.Errorf("%d of %d requests went well", s.good, s.good+bad)
	}
	t.Logf("%v: %d requests went well, %d did not %v; members changed %d times, lists %d times; %d packets on loopback, %d outside; before: %v, at the end of it: %v, after a reload: %v",
		lasts, s.good, bad, s.bad, s.changes, s.lists, s.packets, len(outside), before, at, now)
	s.control()
}

// each puts every member into a state.
func (s *poolSoak) each(state int) {
	for i := range s.members {
		s.set(i, state)
	}
}

// serveNames is the resolver, for which a name of an identity is for it alone, and that of the channel below, which is
// to hear of none.
func (s *poolSoak) serveNames() (end func()) {
	var zone dnstest.Zone
	for id := 1; id <= soakIdentities; id++ {
		zone = append(zone, fmt.Sprintf("%s. 5 A %s", soakName(id), soakOrigin(id).Addr()))
	}
	answer := zone.Handler()
	server := dnstest.ServeDoT(s, s.in.CA.Issue(nil, []netip.Addr{soakResolver.Addr()}), func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		var id int
		if n, _ := fmt.Sscanf(q.Question.Name, "host%d.", &id); n == 1 && q.Client.String() != soakClient(id).String() {
			s.t.Errorf("%s was asked for by %v", q.Question.Name, q.Client)
		}
		return answer(ctx, q)
	})
	below := dnstest.ServeDoT(lab.Must(s.in.Client.ListenAt(soakBelow))(s.t), s.in.CA.Issue(nil, []netip.Addr{soakBelow.Addr()}),
		func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if strings.HasSuffix(q.Question.Name, lab.Zone) {
				s.t.Errorf("the resolver outside of the pool was asked for %s", q.Question.Name)
			}
			return answer(ctx, q)
		})
	return func() {
		_ = server.Close()
		_ = below.Close()
	}
}

// run lets the identities ask and the members come and go for that long, and then all members be there again.
func (s *poolSoak) run(lasts time.Duration) {
	ctx, stop := context.WithTimeout(s.t.Context(), lasts)
	defer stop()
	watched, enough := context.WithCancel(s.t.Context())
	var watching, asking sync.WaitGroup
	watching.Go(func() { s.watch(watched) })
	asking.Go(func() { s.churn(ctx) })
	for id := 1; id <= soakIdentities; id++ {
		asking.Go(func() { s.ask(ctx, id) })
	}
	asking.Wait()
	enough()
	watching.Wait()
	s.each(soakAlive)
	s.write(soakMembers)
}

// booked finds a member of the status with connections.
var booked = regexp.MustCompile(`"open": *[1-9]`)

// idle waits until no connection is booked on a member.
func (s *poolSoak) idle() {
	s.t.Helper()
	scene := &lab.Scene{Internet: s.in}
	await(s.t, "no connection is booked on a member", func() bool {
		text := lab.Admin(s.t, scene, "/status?pool")
		return strings.Contains(text, soakMemberAt(1).String()) && !booked.MatchString(text)
	})
}

// control shows that what is looked for would be seen: a packet on loopback that is no member's, a name in clear, and a
// question to the provider.
func (s *poolSoak) control() {
	s.t.Helper()
	end := lab.Must(s.tap())(s.t)
	if err := s.in.Client.Do(func() error {
		c, err := wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteToUDPAddrPort([]byte("stray"), netip.MustParseAddrPort("127.0.0.1:9"))
		return err
	}); err != nil {
		s.t.Error(err)
	}
	conn := lab.Must(s.in.Client.Dial(s.t.Context(), soakMemberAt(1)))(s.t)
	fmt.Fprintf(conn, "CONNECT %s:443", soakName(1))
	_ = conn.Close()
	stray, clear := false, false
	for _, p := range s.strange(end()) {
		stray = stray || p.Proto == capture.UDP && string(p.Payload) == "stray"
		clear = clear || p.To == soakMemberAt(1) && strings.Contains(string(p.Payload), soakName(1))
	}
	if !stray || !clear {
		s.t.Errorf("not seen though it was there: a stray packet %v, a name in clear %v", !stray, !clear)
	}
	question := lab.Must(dnswire.Query(dnswire.Question{Name: soakName(1), Type: dnswire.A}, 1, 0))(s.t)
	lab.Must(s.in.Client.Ask(netip.AddrPortFrom(s.in.Client.Nameservers()[0], 53), question))(s.t)
	if out := capture.Search(lab.Must(s.in.Packets())(s.t), soakName(1)); len(out) == 0 {
		s.t.Error("a question to the provider was not seen")
	}
}
