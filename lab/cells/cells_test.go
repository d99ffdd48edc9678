// Package cells plays the rows of the leak catalogue (docs/leaks.md) in the lab: the program itself as a process, a
// real client, and every packet of theirs captured. A sub-test has the id of its row.
//
// It promises that a cell which passes saw nothing leave for anyone but the permitted peers, and that the same checks
// saw the leaks of a client without a proxy and of a proxy that leaks. It holds tests only.
package cells

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/capture"
	"watertight/cli"
	"watertight/demo/ordinary"
	"watertight/lab"
	"watertight/lab/internet"
)

// parallel is how many cells that mostly wait may run at once, unless the command line says otherwise.
const parallel = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", parallel); err != nil { // before the command line is read
		panic(err)
	}
	if lab.Outside() {
		fetch("TestHostile_WhatOthersDoNotHoldIsHeld")
	}
	lab.Main(m,
		lab.Role{Name: lab.OrdinaryRole, Run: ordinary.Main},
		lab.Role{Name: lab.WatertightRole, Run: func(args []string) int {
			return counted(func() int { return cli.Main(args, os.Stdin, os.Stdout, os.Stderr) })
		}},
		lab.Role{Name: guardedRole, Run: runGuarded},
		lab.Role{Name: soakedRole, Run: soaked},
		lab.Role{Name: probingRole, Run: probing},
		lab.Role{Name: observingRole, Run: observing},
		lab.Role{Name: forgetfulRole, Run: forgets},
		lab.Role{Name: askingRole, Run: asking},
		lab.Role{Name: connectingRole, Run: connecting},
		lab.Role{Name: leakyGatewayRole, Run: leakyGateway},
		lab.Role{Name: reachingRole, Run: func([]string) int { return counted(reach) }})
}

// play plays a cell with curl on an internet of both families, unless the cell says otherwise.
func play(t *testing.T, id string, c lab.Cell) {
	t.Helper()
	t.Run(id, func(t *testing.T) { run(t, c) })
}

func run(t *testing.T, c lab.Cell) *lab.Evidence {
	t.Helper()
	if c.Families == "" {
		c.Families = internet.Dual
	}
	if c.Client.Name == "" {
		c.Client = lab.Curl
	}
	var scene *lab.Scene
	start := c.Start
	c.Start = func(t testing.TB, s *lab.Scene) string {
		scene = s
		return start(t, s)
	}
	e := c.Run(t)
	if n := trapped(scene); n != "" { // by now every program has ended
		t.Errorf("the program reached for the host's resolver or net/http's default client %s times", n)
	}
	return e
}

// running is the proxy of a scene, for the cells that talk to its process.
type running struct{ *internet.Process }

// with starts the proxy with a configuration, waits until it is ready, and keeps its process.
func (p *running) with(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return func(t testing.TB, s *lab.Scene) string {
		p.Process = lab.StartWatertight(t, s, config(s))
		return lab.ProxyAddress
	}
}

// unready is with for a proxy that is not expected to become ready.
func (p *running) unready(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return func(t testing.TB, s *lab.Scene) string {
		p.Process = lab.LaunchWatertight(t, s, config(s))
		return lab.ProxyAddress
	}
}

func with(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return new(running).with(config)
}

// resolver is a channel's section `resolver` with these upstreams, each a URL or a flow map, all trusted by way of
// the scene's authority.
func resolver(s *lab.Scene, upstreams ...string) string {
	for i, u := range upstreams {
		if !strings.HasPrefix(u, "{") {
			upstreams[i] = fmt.Sprintf("{url: %q, ca: %q}", u, s.CAFile)
		}
	}
	return "{timeout: 5s, upstreams: [" + strings.Join(upstreams, ", ") + "]}"
}

// direct is a configuration with the channel direct alone.
func direct(s *lab.Scene, upstreams ...string) string {
	return "channels:\n  direct: {resolver: " + resolver(s, upstreams...) + "}\n"
}

func dot(s *lab.Scene) string { return direct(s, s.Resolver.DoTURL()) }
func doh(s *lab.Scene) string { return direct(s, s.Resolver.DoHURL()) }

// other gives one more canary: another name with the same label in it, so that the search for the label finds it too.
func other(s *lab.Scene, prefix string) string { return prefix + "-" + s.Canary }

// caller is curl that is to call a host through the proxy.
func caller(s *lab.Scene, host string) *internet.Program {
	return s.Client.Program("curl", "--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile,
		"--proxy", "http://"+lab.ProxyAddress, "https://"+host+"/")
}

// call lets curl call a host through the proxy.
func call(t testing.TB, s *lab.Scene, host string) internet.Result {
	t.Helper()
	result := lab.Run(t, caller(s, host))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result
}

// served fails the test unless the host can be called.
func served(t testing.TB, s *lab.Scene, host string) {
	t.Helper()
	greeted(t, host, call(t, s, host))
}

// greeted fails the test unless a call ended with the origin's greeting.
func greeted(t testing.TB, host string, r internet.Result) {
	t.Helper()
	if r.Code != 0 || !strings.Contains(r.Stdout, internet.Greeting+host) {
		t.Errorf("%s was not served (exit code %d): %s", host, r.Code, r.Text())
	}
}

// refused fails the test unless the call is refused with a code.
func refused(t testing.TB, s *lab.Scene, host, code string) {
	t.Helper()
	if r := call(t, s, host); r.Code == 0 || !strings.Contains(r.Text(), "("+code+")") {
		t.Errorf("%s was not refused with %s (exit code %d): %s", host, code, r.Code, r.Text())
	}
}

// admin asks the proxy about itself, and gives the status and the text.
func admin(t testing.TB, s *lab.Scene, path string) (status, text string) {
	t.Helper()
	r := lab.Run(t, s.Client.Program("curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}",
		"http://"+lab.AdminAddress+path))
	if r.Err != nil || r.Code != 0 {
		t.Fatalf("%s: %v, exit code %d: %s", path, r.Err, r.Code, r.Text())
	}
	i := strings.LastIndexByte(r.Stdout, '\n')
	return r.Stdout[i+1:], r.Stdout[:i]
}

const (
	waitLimit = 20 * time.Second
	pollEvery = 20 * time.Millisecond
)

// await waits until something holds, and fails the test if it does not in time.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit, tick := time.After(waitLimit), time.NewTicker(pollEvery)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// conversed gives the packets that carried something between the client and anyone. The last of a call that is over
// may still be under way, between the client and the origin: those do not count.
func conversed(t testing.TB, s *lab.Scene) int {
	t.Helper()
	n := 0
	for _, p := range capture.Strangers(lab.Must(s.Packets())(t), s.Readers) {
		if len(p.Payload) > 0 {
			n++
		}
	}
	return n
}

// write replaces the configuration file of the running proxy.
func write(t testing.TB, s *lab.Scene, config string) string {
	t.Helper()
	path := filepath.Join(s.Dir, "watertight.yaml")
	config = fmt.Sprintf("listen:\n  proxy: %s\n  admin: %s\n%s", lab.ProxyAddress, lab.AdminAddress, config)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stillborn is a Start for a configuration that the program must refuse: it has to end with the exit code of a bad
// configuration and to say each of these. Nobody may be spoken to.
func stillborn(config func(*lab.Scene) string, says ...string) lab.Cell {
	return lab.Cell{
		Refused: "*",
		Arrange: func(_ testing.TB, s *lab.Scene) { s.Permitted, s.Readers = nil, nil },
		Start: func(t testing.TB, s *lab.Scene) string {
			dies(t, s, config(s), says...)
			return lab.ProxyAddress
		},
	}
}

// dies fails the test unless the program refuses to start with a configuration, and says each of these.
func dies(t testing.TB, s *lab.Scene, config string, says ...string) {
	t.Helper()
	const badConfiguration = 2
	p := lab.Must(lab.Self(s.Client, lab.WatertightRole, "run", "-c", write(t, s, config)).Start(t.Context()))(t)
	if _, err := p.AwaitOutput(t.Context(), "listening on"); !errors.Is(err, internet.ErrEndedEarly) {
		p.Kill()
		t.Fatalf("it did not refuse to start (%v) and said:\n%s", err, p.Sofar().Text())
	}
	r := p.Wait()
	if r.Err != nil || r.Code != badConfiguration {
		t.Errorf("it ended with the exit code %d (%v) and said:\n%s", r.Code, r.Err, r.Text())
	}
	for _, want := range says {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("it did not say %q but:\n%s", want, r.Text())
		}
	}
}
