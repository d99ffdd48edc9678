package overlay

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnderTheOverlay_aFreshResolverPanics_andAddressesAndTheRefusingResolverDoNot(t *testing.T) {
	goroot := goroot(t)
	dir := t.TempDir()
	list, err := Write(goroot, dir)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-overlay", list, "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, how := range []string{"fresh", "default", "nil", "dial", "reverse", "text"} {
		out, err := exec.Command(program, how).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("by a resolver of the host")) {
			t.Errorf("%s: a look-up went past the trap: %v\n%s", how, err, out)
		}
	}
	for _, how := range []string{"literal", "refusing"} {
		if out, err := exec.Command(program, how).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
}

func TestRewrite_refusesASourceThatHasLostAMethod(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(goroot(t), "src", "net", "lookup.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"func (r *Resolver) LookupTXT(", "func (r *Resolver) FindTXT("},
		{"func (r *Resolver) lookupIPAddr(", "func lookupIPAddr("},
		{`"net/netip"`, `"net/netip2"`},
	} {
		if _, err := rewrite([]byte(strings.Replace(string(text), change[0], change[1], 1))); err == nil {
			t.Errorf("a source without %s is taken", change[0])
		}
	}
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
