package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The errors are a part of the program that people read: each wrong file stands beside the very text it gives.
func TestWrongFile_GivesEveryErrorWithItsPlaceAndItsMend(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d wrong files: %v", len(files), err)
	}
	host := testHost(map[string]string{"WATERTIGHT_TEST_PASSWORD": "correct horse"}, nil)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), text, host)
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error() + "\n"
			for _, secret := range []string{"correct horse", "hunter2"} {
				if strings.Contains(got, secret) {
					t.Errorf("a secret is shown:\n%s", got)
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestProblems_BeyondAHundredAreCounted(t *testing.T) {
	var b strings.Builder
	for range 150 {
		b.WriteString("x")
		b.WriteString(b.String()[:1])
		b.WriteString(": 1\n")
	}
	got := bad(t, b.String()).Error()
	if n := strings.Count(got, "\n    "); n != maxProblems || !strings.HasSuffix(got, "... and 50 more") {
		t.Errorf("%d problems are printed, and the end is %q", n, got[len(got)-40:])
	}
}

func TestNearest_FindsSlipsOfTheFingerAndNothingElse(t *testing.T) {
	words := []string{"listen", "channels", "routes", "policy", "limits", "log", "connections"}
	for word, want := range map[string]string{
		"lisen": "listen", "listne": "listen", "Channels": "channels", "chanel": "channels", "route": "routes", "conn": "connections",
		"lgo": "log", "foo": "", "zebra": "", "": "", "x": "", strings.Repeat("a", 100): "",
	} {
		if got, ok := Nearest(word, words); got != want || ok != (want != "") {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
