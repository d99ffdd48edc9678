package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// What the head of the file says (https://www.sqlite.org/pragma.html#pragma_application_id).
const (
	application = 0x57544c54 // WTLT
	version     = 1
)

const schema = `
create table run(
	id integer primary key autoincrement,
	at integer not null,           -- milliseconds since 1970
	took integer not null,         -- milliseconds
	cause text not null,
	verdict text not null,
	sealed integer not null, leak integer not null, inconclusive integer not null, skipped integer not null,
	report blob not null           -- JSON, by gzip; empty: it was too long
) strict;
create index run_at on run(at);
`

// with opens the file for do, and closes it. A file that turns out to be damaged is set aside, and do is given a new one.
func (h *History) with(ctx context.Context, create bool, do func(*sqlite3.Conn) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	err := h.once(ctx, create, do)
	if !errors.Is(err, sqlite3.CORRUPT) && !errors.Is(err, sqlite3.NOTADB) {
		return err
	}
	aside, failed := h.setAside()
	if failed != nil {
		return fmt.Errorf("history: %s is damaged, and cannot be set aside: %w", h.path, failed)
	}
	h.log.Warn("the history of leak tests is damaged, and begins anew", "file", h.path, "kept", aside, "error", err)
	return h.once(ctx, create, do)
}

// setAside gives the file another name, in the place of what was set aside before.
func (h *History) setAside() (string, error) {
	aside := h.path + ".damaged"
	for _, tail := range beside { // of the old content, and nothing for the new
		if err := os.Remove(h.path + tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, os.Rename(h.path, aside)
}

func (h *History) once(ctx context.Context, create bool, do func(*sqlite3.Conn) error) (err error) {
	if err := h.prepare(create); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if f, err := os.OpenFile(h.path+index, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
	}
	c, err := sqlite3.OpenFlags(h.uri(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI|sqlite3.OPEN_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.SetInterrupt(ctx)
	if err := h.begin(c); err != nil {
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	if err := do(c); err != nil {
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	return nil
}

// beside are the files of SQLite beside a database (https://www.sqlite.org/tempfiles.html).
var beside = []string{"-wal", index, "-journal"}

// index is that of the journal, which other processes share: it has numbers of pages in it and no more.
const index = "-shm"

// prepare makes sure that the files are this user's alone, and makes an empty one where there is none: its journal gets the
// mode that it has.
func (h *History) prepare(create bool) error {
	for _, tail := range beside { // what SQLite finds there it takes for its own
		if err := h.own(h.path + tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := h.own(h.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(h.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) { // by another process, meanwhile
			return h.prepare(false)
		}
		if err != nil {
			return err
		}
		return f.Close()
	}
	return err
}

// own makes sure that a file is one, and this user's alone. The error wraps [fs.ErrNotExist] where there is none.
func (h *History) own(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: it is no regular file", path, ErrForeign)
	case path != h.path: // SQLite has just made it, perhaps, and gives it its mode then
		if another(info) {
			return fmt.Errorf("%s: %w: it belongs to another user", path, ErrForeign)
		}
	case shared(info):
		return fmt.Errorf("%s: %w: it belongs to another user, or others can read or change it (mode %04o); `chmod 600` it, if it is one", path, ErrForeign, info.Mode().Perm())
	}
	return nil
}

// uri names the file, with whatever is in its path, and says whose mode its journal gets.
func (h *History) uri() string {
	path := filepath.ToSlash(h.path)
	if path[0] != '/' {
		path = "/" + path // C:/ of Windows
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "modeof=" + strings.ReplaceAll(url.QueryEscape(h.path), "+", "%20")}
	return u.String()
}

// begin looks at what the file is, and makes the table in one that is empty.
func (h *History) begin(c *sqlite3.Conn) error {
	if err := c.BusyTimeout(busyLimit); err != nil {
		return err
	}
	if err := c.Exec("pragma trusted_schema=off"); err != nil {
		return err
	}
	app, ver, tables, err := head(c)
	switch {
	case err != nil:
		return err
	case app != application && (app != 0 || ver != 0 || tables != 0):
		return fmt.Errorf("%w: it is another program's database", ErrForeign)
	case ver > version:
		return ErrLater
	}
	err = c.Exec("pragma journal_mode=wal; pragma synchronous=normal; pragma max_page_count=" + strconv.Itoa(h.most/pageOctets))
	if err != nil || ver == version {
		return err
	}
	return h.create(c)
}

// head tells what the file is, at one moment.
func head(c *sqlite3.Conn) (app, ver, tables int, err error) {
	tx := c.Begin()
	defer tx.End(&err)
	for _, one := range []struct {
		text string
		set  *int
	}{
		{"select count(*) from sqlite_schema", &tables},
		{"pragma application_id", &app},
		{"pragma user_version", &ver},
	} {
		if *one.set, err = number(c, one.text); err != nil {
			return 0, 0, 0, err
		}
	}
	return app, ver, tables, nil
}

// create makes the table, unless another process did meanwhile.
func (h *History) create(c *sqlite3.Conn) (err error) {
	tx, err := c.BeginImmediate()
	if err != nil {
		return err
	}
	defer tx.End(&err)
	if ver, err := number(c, "pragma user_version"); err != nil || ver == version {
		return err
	}
	return c.Exec(schema + fmt.Sprintf("pragma application_id=%d; pragma user_version=%d;", application, version))
}

func number(c *sqlite3.Conn, text string) (int, error) {
	s, _, err := c.Prepare(text)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if !s.Step() {
		return 0, errors.Join(s.Err(), errors.New("no number came"))
	}
	return s.ColumnInt(0), s.Err()
}
