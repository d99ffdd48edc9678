package cells

import (
	"os"
	"strings"
	"testing"
	"time"

	"watertight/capture"
	"watertight/cli"
	"watertight/lab"
	"watertight/lab/internet"
)

// guardedRole is the program on a host whose guard it has turned on before: /run, where that is kept, is of one process in the lab.
const guardedRole = "guarded"

func runGuarded(args []string) int {
	if code := cli.Main([]string{"guard", "on", "-c", args[0]}, os.Stdin, os.Stdout, os.Stderr); code != 0 {
		return code
	}
	return counted(func() int { return cli.Main([]string{"run", "-c", args[0]}, os.Stdin, os.Stdout, os.Stderr) })
}

// beside is an ordinary program of the host that asks for a name and connects to it.
func beside(s *lab.Scene, name string) *internet.Program {
	return s.Client.Program("curl", "--silent", "--show-error", "--max-time", "4", "--cacert", s.CAFile, "https://"+name+"/")
}

// TestGuard_TheRunningProgramPutsBackWhatIsFlushed plays G12: what the program sends passes the guard by its mark, and what another
// program sends does not, before somebody flushes the firewall, after the program has put it back, and when the program is killed. A
// contained program is carried by the one that runs.
func TestGuard_TheRunningProgramPutsBackWhatIsFlushed(t *testing.T) {
	lab.Need(t, "nft", "curl")
	s := lab.NewScene(t, internet.V4)
	sent := func(name string) bool {
		return len(capture.Search(lab.Must(s.Packets())(t), strings.Split(name, ".")[0])) > 0
	}
	bare := other(s, "bare")
	lab.Run(t, beside(s, bare))
	if !sent(bare) {
		t.Fatal("INVALID: what an ordinary program asks for is not seen without the guard")
	}
	config := write(t, s, dot(s)+"guard: {}\n")
	running := lab.Self(s.Client, guardedRole, config)
	running.Env = append(running.Env, "RUNTIME_DIRECTORY="+s.Dir) // each program has a /run of its own here
	p := lab.Must(running.Start(t.Context()))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("watertight wrote:\n%s", p.Sofar().Text())
		}
	})
	lab.Must(p.AwaitOutput(t.Context(), "ready: "))(t)
	armed := time.Now()
	holds := func(when string) {
		t.Helper()
		name := other(s, when)
		if r := lab.Run(t, beside(s, name)); r.Code == 0 || sent(name) {
			t.Errorf("LEAK: %s: an ordinary program got through: %s", when, r.Text())
		}
	}
	contained := func(name string) *internet.Program {
		p := lab.Self(s.Client, lab.WatertightRole, "exec", "--attach", "-c", config, "--", "curl", "--silent", "--show-error", "--fail", "--max-time", "10",
			"--cacert", s.CAFile, "https://"+name+"/")
		p.Env = append(p.Env, "RUNTIME_DIRECTORY="+s.Dir)
		return p
	}
	told := func(want ...string) bool {
		_, metrics := admin(t, s, "/metrics")
		_, status := admin(t, s, "/status")
		for _, w := range want {
			if !strings.Contains(metrics, w) && !strings.Contains(status, w) {
				return false
			}
		}
		return true
	}
	succeeds(t, caller(s, other(s, "first")))
	succeeds(t, contained(other(s, "inside")))
	holds("before")
	await(t, "the guard is told to be on", func() bool {
		return told("watertight_guard_held 1", "watertight_guard_restored_total 0", `"state": "on"`)
	})

	succeeds(t, s.Client.Program("nft", "flush", "ruleset"))
	await(t, "the guard is put back", func() bool {
		return told("watertight_guard_held 1", "watertight_guard_restored_total 1", `"restored": 1`)
	})
	holds("afterwards")
	succeeds(t, caller(s, other(s, "second")))
	await(t, "what is refused is counted", func() bool {
		_, metrics := admin(t, s, "/metrics")
		return strings.Contains(metrics, `watertight_guard_refused_packets_total{kind="dns"}`) && !strings.Contains(metrics, `watertight_guard_refused_packets_total{kind="dns"} 0`)
	})

	p.Kill()
	p.Wait()
	holds("killed")
	if r := lab.Run(t, caller(s, other(s, "third"))); r.Code == 0 {
		t.Errorf("INVALID: the proxy is alive: %s", r.Text())
	}
	if r := lab.Run(t, contained(other(s, "alone"))); r.Code == 0 {
		t.Errorf("LEAK: a contained program got through without the proxy: %s", r.Text())
	}
	for _, packet := range strangers(t, s, armed) {
		t.Errorf("LEAK: %v", packet)
	}
}
