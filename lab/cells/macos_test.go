//go:build elsewhere

package cells

import (
	"path/filepath"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// TestMacOSFiles_OnThisKernel plays $WATERTIGHT_MACOS: a program for Linux out of the very files that one for macOS is built from
// (scripts/macos-overlay). No kernel of macOS is here: what is seen is that nothing which the program has there leaks, or is missing.
func TestMacOSFiles_OnThisKernel(t *testing.T) {
	exe, root := built(t, "WATERTIGHT_MACOS"), t.TempDir()
	plays(t, elsewhere{
		system:  "darwin/amd64",
		program: func(s *lab.Scene, args ...string) *internet.Program { return s.Client.Program(exe, args...) },
		begin:   func(testing.TB, *lab.Scene) {},
		home:    func(testing.TB) string { return filepath.Join(root, "Users", "ann") },
		doctor:  []string{"--root", root},
	})
}
