package cells

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

// trapFile is where a program of the lab leaves how often it went into wire's traps: in its home directory, which is
// that of its internet.
const trapFile = "trapped"

// counted runs the program with the host's resolver disarmed, as its main does, and leaves the count of the traps
// behind, if there is one. What went into a trap sent no packet, so that nothing else in a cell would see it.
func counted(program func() int) int {
	wire.Seal()
	code := program()
	if n := wire.Trapped(); n > 0 {
		if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), trapFile), fmt.Append(nil, n), 0o644); err != nil {
			panic(err)
		}
	}
	return code
}

// trapped gives the count that a program of the scene left, or "".
func trapped(s *lab.Scene) string {
	text, err := os.ReadFile(filepath.Join(s.Dir, trapFile))
	if err != nil {
		return ""
	}
	return string(text)
}

// reachingRole is a program that reaches for net/http's default client: the control of the traps.
const reachingRole = "reaching"

func reach() int {
	response, err := http.Get("http://" + lab.Zone)
	if err == nil {
		_ = response.Body.Close()
		return 1
	}
	return 0
}

func TestTraps_ACellSeesThatAProgramWentIntoOne(t *testing.T) {
	s := lab.NewScene(t, internet.Dual)
	if n := trapped(s); n != "" {
		t.Errorf("before: %s", n)
	}
	if r := lab.Run(t, lab.Self(s.Client, reachingRole)); r.Err != nil || r.Code != 0 {
		t.Fatalf("%v, exit code %d: %s", r.Err, r.Code, r.Text())
	}
	if n := trapped(s); n != "1" {
		t.Errorf("one look-up was counted as %q", n)
	}
}
