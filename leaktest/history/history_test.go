package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// open names a history in a directory of the test's own, whose log is given too.
func open(t testing.TB, keep int) (*History, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	h, err := New(filepath.Join(t.TempDir(), "kept", "outcomes #1?.db"), keep, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return h, &log
}

func outcome(i int) Run {
	return Run{
		At: noon.Add(time.Duration(i) * time.Hour), Took: 1500 * time.Millisecond, Cause: "network", Verdict: "leak",
		Cases: Counts{Sealed: 10, Leak: 1, Inconclusive: 2, Skipped: i}, Report: fmt.Appendf(nil, `{"n":%d}`, i),
	}
}

func add(t testing.TB, h *History, runs ...Run) {
	t.Helper()
	for _, r := range runs {
		if err := h.Add(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, h *History, f Filter) []Run {
	t.Helper()
	all, err := h.Read(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatWasKeptComesBackWithTheLatestFirst(t *testing.T) {
	h, _ := open(t, 10)
	if all := read(t, h, Filter{}); len(all) != 0 {
		t.Errorf("before there is any: %+v", all)
	}
	if _, err := os.Stat(h.Path()); err == nil {
		t.Error("to read makes a file")
	}
	add(t, h, outcome(1), outcome(2), outcome(3))
	all := read(t, h, Filter{Reports: true})
	if len(all) != 3 {
		t.Fatalf("%d outcomes", len(all))
	}
	for i, got := range all {
		want := outcome(3 - i)
		if got.ID != int64(3-i) || !got.At.Equal(want.At) || got.Took != want.Took || got.Cause != want.Cause || got.Verdict != want.Verdict || got.Cases != want.Cases || string(got.Report) != string(want.Report) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if all := read(t, h, Filter{Last: 2}); len(all) != 2 || all[0].ID != 3 || all[0].Report != nil {
		t.Errorf("the last two: %+v", all)
	}
	if all := read(t, h, Filter{Since: noon.Add(2 * time.Hour)}); len(all) != 2 || all[1].ID != 2 {
		t.Errorf("since the second: %+v", all)
	}
}

func TestTheFileIsItsUsersAlone(t *testing.T) {
	h, _ := open(t, 10)
	add(t, h, outcome(1))
	dir := filepath.Dir(h.Path())
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 { // what stands beside it while it is open is gone
		t.Fatalf("%v: %v", files, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, h.Path(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	// Its journal, while it is open.
	err = h.with(t.Context(), false, func(c *sqlite3.Conn) error {
		if err := c.Exec("delete from run"); err != nil {
			return err
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) < 2 {
			return fmt.Errorf("no journal is seen: %v %w", files, err)
		}
		for _, f := range files {
			info, err := f.Info()
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.Chmod(h.Path(), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(t.Context(), outcome(2)); !errors.Is(err, ErrForeign) {
		t.Errorf("others may read it: %v", err)
	}
}

func TestTheOldestOutcomesGoWhereThereAreTooMany(t *testing.T) {
	h, _ := open(t, 3)
	for i := range 6 {
		add(t, h, outcome(i))
	}
	all := read(t, h, Filter{})
	if len(all) != 3 || all[0].ID != 6 || all[2].ID != 4 {
		t.Errorf("%+v", all)
	}
}

func TestTheFileGrowsNoLargerThanIsSaid(t *testing.T) {
	h, _ := open(t, 100_000)
	if h.most != MaxOctets {
		t.Fatal(h.most)
	}
	h.most = 2 << 20
	noise := make([]byte, 100_000)
	source := rand.NewChaCha8([32]byte{1})
	r := outcome(0)
	for range 40 { // what chance makes cannot be packed
		_, _ = source.Read(noise)
		r.Report = noise
		add(t, h, r)
	}
	info, err := os.Stat(h.Path())
	if err != nil || info.Size() > int64(h.most) || info.Size() < int64(h.most)/2 {
		t.Fatalf("%d octets: %v", info.Size(), err)
	}
	all := read(t, h, Filter{Reports: true})
	if len(all) < 10 || len(all) > 16 || all[0].ID != 40 || !bytes.Equal(all[0].Report, noise) {
		t.Errorf("%d are kept, the latest is %d", len(all), all[0].ID)
	}
}

func TestAReportThatIsTooLongIsNotKeptAndItsOutcomeIs(t *testing.T) {
	h, _ := open(t, 3)
	r := outcome(1)
	r.Report = make([]byte, MaxReport+1)
	add(t, h, r)
	if all := read(t, h, Filter{Reports: true}); len(all) != 1 || all[0].Report != nil || all[0].Verdict != "leak" {
		t.Errorf("%+v", all)
	}
}

func TestADamagedFileIsToldAndSetAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"no database at all":      func([]byte) []byte { return []byte(strings.Repeat("this is none. ", 1000)) },
		"its first page":          func(b []byte) []byte { return append(bytes.Repeat([]byte{0xa5}, 64), b[64:]...) },
		"its schema":              func(b []byte) []byte { return append(b[:100:100], bytes.Repeat([]byte{0xff}, len(b)-100)...) },
		"all pages but the first": func(b []byte) []byte { return append(b[:4096:4096], bytes.Repeat([]byte{0xff}, len(b)-4096)...) },
	} {
		t.Run(name, func(t *testing.T) {
			h, log := open(t, 10)
			add(t, h, outcome(1), outcome(2))
			whole, err := os.ReadFile(h.Path())
			if err != nil {
				t.Fatal(err)
			}
			bad := damage(whole)
			if err := os.WriteFile(h.Path(), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			add(t, h, outcome(3))
			if all := read(t, h, Filter{}); len(all) != 1 || !all[0].At.Equal(outcome(3).At) {
				t.Errorf("%+v", all)
			}
			if !strings.Contains(log.String(), "begins anew") {
				t.Errorf("the log says %q", log)
			}
			if kept, err := os.ReadFile(h.Path() + ".damaged"); err != nil || !bytes.Equal(kept[:16], bad[:16]) {
				t.Errorf("what was there is not kept: %v", err)
			}
		})
	}
}

func TestAFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	h, _ := open(t, 10)
	if err := os.MkdirAll(filepath.Dir(h.Path()), 0o700); err != nil {
		t.Fatal(err)
	}
	other, err := sqlite3.Open(h.Path())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(other.Exec("create table theirs(a); pragma user_version=1"), other.Close(), os.Chmod(h.Path(), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(h.Path())
	if err := h.Add(t.Context(), outcome(1)); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	if after, _ := os.ReadFile(h.Path()); !bytes.Equal(before, after) {
		t.Error("it was changed")
	}
	if err := os.Remove(h.Path()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), h.Path()); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(t.Context(), outcome(1)); !errors.Is(err, ErrForeign) {
		t.Errorf("a link: %v", err)
	}
}

func TestAFileOfALaterVersionIsLeftAlone(t *testing.T) {
	h, _ := open(t, 10)
	add(t, h, outcome(1))
	if err := h.with(t.Context(), false, func(c *sqlite3.Conn) error { return c.Exec("pragma user_version=2") }); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(t.Context(), outcome(2)); !errors.Is(err, ErrLater) {
		t.Error(err)
	}
}

func TestManyMayKeepAndReadAtATime(t *testing.T) {
	h, _ := open(t, 100)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			mine, err := New(h.Path(), 100, slog.New(slog.DiscardHandler)) // as another process does
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 5 {
				if err := mine.Add(context.Background(), outcome(10*i+j)); err != nil {
					t.Error(err)
				}
				if _, err := mine.Read(context.Background(), Filter{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if kept := read(t, h, Filter{}); len(kept) != 20 {
		t.Errorf("%d are kept", len(kept))
	}
}

func TestAnOutcomeThatCannotBeKeptIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := New(filepath.Join(dir, "file", "outcomes.db"), 1, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Add(t.Context(), outcome(1)); err == nil {
		t.Error("it was kept below a file")
	}
	for _, bad := range []func() (*History, error){
		func() (*History, error) { return New("relative.db", 1, slog.New(slog.DiscardHandler)) },
		func() (*History, error) { return New(filepath.Join(dir, "x"), 0, slog.New(slog.DiscardHandler)) },
		func() (*History, error) { return New(filepath.Join(dir, "x"), 1, nil) },
	} {
		if h, err := bad(); err == nil {
			t.Errorf("%+v is taken", h)
		}
	}
}

func TestAFileThatIsAnythingIsNeverMoreThanAnError(t *testing.T) {
	whole, _ := open(t, 10)
	add(t, whole, outcome(1), outcome(2))
	good, err := os.ReadFile(whole.Path())
	if err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		content := bytes.Clone(good)
		for range 1 + chance.IntN(40) {
			content[chance.IntN(len(content)>>(i%3*2))] = byte(chance.Uint32()) // more of the head
		}
		content = content[:len(content)-i%5*1000]
		h, _ := open(t, 10)
		if err := os.MkdirAll(filepath.Dir(h.Path()), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.Path(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = h.Read(context.Background(), Filter{Reports: true})
		if err := h.Add(context.Background(), outcome(3)); err == nil {
			if all := read(t, h, Filter{Last: 1}); len(all) != 1 || !all[0].At.Equal(outcome(3).At) {
				t.Errorf("%d: %+v", i, all)
			}
		}
	}
}

// A journal that somebody else has put there would be taken for what was kept.
func TestWhatSomebodyElseHasPutBesideTheFileIsLeftAlone(t *testing.T) {
	for _, tail := range []string{"-wal", "-shm", "-journal"} {
		for how, put := range map[string]func(path, elsewhere string) error{
			"a link":    func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
			"no file":   func(path, _ string) error { return os.Mkdir(path, 0o700) },
			"dead link": func(path, elsewhere string) error { return os.Symlink(elsewhere+".none", path) },
		} {
			h, _ := open(t, 10)
			add(t, h, outcome(1))
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if err := errors.Join(os.WriteFile(elsewhere, []byte("mine"), 0o600), put(h.Path()+tail, elsewhere)); err != nil {
				t.Fatal(err)
			}
			if err := h.Add(context.Background(), outcome(2)); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), tail) {
				t.Errorf("%s as %s: %v", how, tail, err)
			}
			if text, err := os.ReadFile(elsewhere); err != nil || string(text) != "mine" {
				t.Errorf("%s as %s: what it leads to is changed (%v)", how, tail, err)
			}
			if _, err := os.Lstat(elsewhere + ".none"); err == nil {
				t.Errorf("%s as %s: a file was made where it leads to", how, tail)
			}
		}
	}
}
