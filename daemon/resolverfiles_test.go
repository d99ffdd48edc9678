package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"watertight/control"
	"watertight/netwatch"
)

func TestWhatResolverFilesHadInThem_isKeptOverRunsAndWithinLimits(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "resolv.conf")
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	m, log := diaryIn(t, dir)
	c := &contents{}
	look := func(text string) {
		t.Helper()
		at = at.Add(time.Hour)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c.look(m, []string{file, file + ".none"}, at)
	}
	look("a")
	first := control.ResolverFile{Path: file, SHA256: netwatch.Sum([]byte("a")), At: at}
	look("a")
	if got := c.all(); len(got) != 1 || got[0] != first {
		t.Errorf("%+v", got)
	}
	look("b")
	c = &contents{}
	c.recall(m)
	look("b")
	look("a") // as it was once is another content than the last
	if got := c.all(); len(got) != 3 || got[0] != first || got[1].SHA256 != netwatch.Sum([]byte("b")) || got[2].SHA256 != first.SHA256 {
		t.Errorf("%+v", got)
	}
	for i := range 2 * maxContents {
		look(fmt.Sprint(i))
	}
	c = &contents{}
	c.recall(m)
	if got := c.all(); len(got) != maxContents || got[maxContents-1].SHA256 != netwatch.Sum([]byte(fmt.Sprint(2*maxContents-1))) {
		t.Errorf("%+v", got)
	}
	m.write(resolverFilesFile, []byte("{"))
	c = &contents{}
	c.recall(m)
	if len(c.all()) > 0 || log.String() == "" {
		t.Errorf("%+v, and it says %q", c.all(), log)
	}
}

func TestStatus_ShowsWhatResolverFilesHadInThem(t *testing.T) {
	l := newLive(t, stateText(t.TempDir()))
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 127.0.0.1\n")
	l.d.o.ResolverFiles = []string{file}
	l.start().awaitReady()
	write("nameserver 192.0.2.1\n")
	l.d.around(netwatch.Resolver)
	got := l.d.Status().ResolverFiles
	if len(got) != 2 || got[0].SHA256 != netwatch.Sum([]byte("nameserver 127.0.0.1\n")) || got[1].SHA256 != netwatch.Sum([]byte("nameserver 192.0.2.1\n")) || got[1].Path != file {
		t.Errorf("%+v", got)
	}
}
