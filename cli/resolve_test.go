package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"watertight/daemon"
)

// writes keeps what is written, write by write.
type writes []string

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, string(b))
	return len(b), nil
}

func TestResolve_IsWrittenAtOnce(t *testing.T) {
	var out writes
	cmd := new(cobra.Command)
	cmd.SetOut(&out)
	printResolution(cmd, &daemon.Resolution{Name: "www.example.com", Channel: "out", Path: []string{"out", "direct"}})
	if len(out) != 1 || !strings.Contains(out[0], "name     www.example.com\n") || !strings.Contains(out[0], "path     out -> direct\n") {
		t.Errorf("it was written as %q", out)
	}
}
