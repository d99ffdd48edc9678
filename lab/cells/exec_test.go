package cells

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// contained prepares a program to run by `watertight exec` on the client's host.
func contained(t testing.TB, s *lab.Scene, config string, command ...string) *internet.Program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "watertight.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return lab.Self(s.Client, lab.WatertightRole, append([]string{"exec", "-c", file, "--"}, command...)...)
}

func TestExec_ProgramsThatKnowOfNoProxy(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			s := lab.NewScene(t, families)
			e := s.Gather(t, lab.Run(t, contained(t, s, dot(s), "curl", "--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile, "https://"+s.Canary+"/")))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if !e.Delivered || e.Client.Code != 0 {
				t.Errorf("the call did not arrive: %s", e.Client.Text())
			}
			_ = strings.Contains
		})
	}
}
