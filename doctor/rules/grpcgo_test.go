package rules

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"watertight/doctor"
	"watertight/doctor/doctortest"
)

// buildWithGRPC builds a program of Go that says of itself that it is built with a version of gRPC, and gives its path. The
// module stands for gRPC and is empty: nothing is fetched.
func buildWithGRPC(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":      "module example.com/worker\n\ngo 1.24\n\nrequire google.golang.org/grpc " + version + "\n\nreplace google.golang.org/grpc => ./grpc\n",
		"main.go":     "package main\n\nimport _ \"google.golang.org/grpc\"\n\nfunc main() {}\n",
		"grpc/go.mod": "module google.golang.org/grpc\n\ngo 1.24\n",
		"grpc/g.go":   "package grpc\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-o", "worker", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "worker")
}

func TestAProgramOfGo_isKnownByTheVersionOfGRPCThatItIsBuiltWith(t *testing.T) {
	built, err := os.ReadFile(buildWithGRPC(t, "v1.70.1"))
	if err != nil {
		t.Fatal(err)
	}
	for version, bad := range map[string]bool{"v1.63.2": false, "v1.64.0": true, "v1.70.1": true, "v1.71.0": false} {
		exe := bytes.ReplaceAll(built, []byte("v1.70.1"), []byte(version)) // of the same length: the file is as if it were built so
		text := "Built with gRPC.\n-- proc/9/exe -> /opt/worker --\n-- proc/9/cmdline --\nworker\n-- proc/9/environ --\nhttps_proxy=http://127.0.0.1:8080\n"
		c := doctortest.Read(t, version, []byte(text))
		h := c.HostWith(t, map[string][]byte{"opt/worker": exe})
		r := doctor.Run(t.Context(), h, slices.DeleteFunc(All(), func(r doctor.Rule) bool { return r.ID != "GRPC-GO-OLD" }))
		if found := len(r.Findings) == 1; found != bad {
			t.Errorf("%s: %d findings", version, len(r.Findings))
			continue
		}
		if bad && r.Findings[0].Evidence[0] != "process 9 (worker): google.golang.org/grpc "+version+"; https_proxy=http://127.0.0.1:8080" {
			t.Errorf("evidence %q", r.Findings[0].Evidence)
		}
	}
}
