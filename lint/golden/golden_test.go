package golden

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The program, as releases build it.
var program = Options{Dir: "../..", Main: []string{"./cmd/watertight"}, Env: append(os.Environ(), "CGO_ENABLED=0"), Tags: "netgo,osusergo"}

func TestEveryDiallingPlaceInADependency_isListedWithItsReason(t *testing.T) {
	found, err := Scan(program)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("dials.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	list, err := Read(file)
	if err != nil {
		t.Fatalf("dials.txt: %v", err)
	}
	fresh, stale := Diff(found, list)
	pkg := ""
	for _, e := range fresh {
		if e.Func != "" && e.Package != pkg {
			pkg = e.Package
			t.Errorf("%s dials where nobody has looked yet; read these and list them in lint/golden/dials.txt:", pkg)
		}
		t.Error(e)
	}
	for _, e := range stale {
		t.Errorf("%s: listed and no longer there: %s", e.Package, e)
	}
}

func TestScan_findsADiallingDependency(t *testing.T) {
	found, err := Scan(Options{Dir: "../..", Main: []string{"github.com/miekg/dns"}, Env: program.Env, Tags: program.Tags})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Entry{
		{"github.com/miekg/dns", "(*Client).DialContext", "net.Dialer.DialContext"},
		{Package: "crypto/tls"},
	} {
		if !slices.Contains(found, want) {
			t.Errorf("not found: %+v", want)
		}
	}
}

func TestDiff_tellsWhatIsNewAndWhatIsStale(t *testing.T) {
	list, err := Read(strings.NewReader("# remark\n\nnet/http: only over our own transport\nexample.com/a: never called by us\n\tDial net.Dial\n"))
	if err != nil {
		t.Fatal(err)
	}
	fresh, stale := Diff([]Entry{{"example.com/a", "Listen", "net.Listen"}, {Package: "net/http"}}, list)
	if want := []Entry{{"example.com/a", "Listen", "net.Listen"}}; !slices.Equal(fresh, want) {
		t.Errorf("new: %v, want %v", fresh, want)
	}
	if want := []Entry{{"example.com/a", "Dial", "net.Dial"}}; !slices.Equal(stale, want) {
		t.Errorf("stale: %v, want %v", stale, want)
	}
}

func TestRead_refusesAnEntryWithoutReason(t *testing.T) {
	for _, text := range []string{"net/http", "net/http:", "net/http: hm", "\tDial net.Dial", "example.com/a: never called by us\n\tDial", "net/rpc: never called by us\nnet/rpc: never called by us"} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
