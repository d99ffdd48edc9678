// Package history keeps the outcomes of leak tests in a file of SQLite, from one run of the program to the next.
//
// It promises that the file is its user's alone, that it grows no larger than is said here, and that one which is damaged
// is set aside and never stops anybody. It opens the file for each thing that is asked, and closes it again: nothing of it
// is done before the first outcome, and no lock is held while nothing happens. It gives no meaning to reports, and keeps
// what it is given: no name of a user is in them.
package history

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// File is the name of the file where none is given.
const File = "leaktest.db"

// Limits of a history.
const (
	MaxReport = 1 << 20  // octets of one report; a longer one is not kept, and its outcome is
	MaxRead   = 1 << 10  // outcomes that are read at once
	MaxOctets = 64 << 20 // of the file; its reports take three quarters of that at most

	pageOctets = 4096
	opLimit    = 10 * time.Second
	busyLimit  = 5 * time.Second // for another process that has the file
)

// Run is the outcome of one test.
type Run struct {
	ID      int64 // rises; 0 before it is kept
	At      time.Time
	Took    time.Duration
	Cause   string // what the test was made for
	Verdict string
	Cases   Counts
	Report  []byte // the whole of it, in JSON; nil where it was too long, or was not asked for
}

// Counts is how many cases had which verdict.
type Counts struct {
	Sealed, Leak, Inconclusive, Skipped int
}

// ErrForeign is wrapped by the error for a file that holds something else, or that others can read or change.
var ErrForeign = errors.New("not a history of this program for this user alone")

// ErrLater is wrapped by the error for a file that a later version of this program wrote.
var ErrLater = errors.New("written by a later version of this program")

// History is such a file. Its methods may be called from many goroutines, and it may be open in many processes.
type History struct {
	path string
	keep int
	most int // octets of the file
	log  *slog.Logger
	mu   sync.Mutex
}

// New names a file, which need not be there yet, and says how many outcomes are kept. Nothing is opened.
func New(path string, keep int, log *slog.Logger) (*History, error) {
	switch {
	case !filepath.IsAbs(path):
		return nil, fmt.Errorf("history: %q is no absolute path", path)
	case keep < 1:
		return nil, fmt.Errorf("history: %d outcomes cannot be kept", keep)
	case log == nil:
		return nil, errors.New("history: it needs a log")
	}
	return &History{path: filepath.Clean(path), keep: keep, most: MaxOctets, log: log}, nil
}

// Path is where the file is.
func (h *History) Path() string { return h.path }

// Add keeps an outcome, and lets the oldest go where there are too many.
func (h *History) Add(ctx context.Context, r Run) error {
	report, err := pack(r.Report)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return h.with(ctx, true, func(c *sqlite3.Conn) (err error) {
		tx, err := c.BeginImmediate()
		if err != nil {
			return err
		}
		defer tx.End(&err)
		if err := prune(c, h.keep-1, h.most/4*3-len(report)); err != nil {
			return err
		}
		s, _, err := c.Prepare(`insert into run(at, took, cause, verdict, sealed, leak, inconclusive, skipped, report) values(?,?,?,?,?,?,?,?,?)`)
		if err != nil {
			return err
		}
		defer s.Close()
		err = errors.Join(s.BindInt64(1, r.At.UnixMilli()), s.BindInt64(2, r.Took.Milliseconds()), s.BindText(3, r.Cause), s.BindText(4, r.Verdict),
			s.BindInt(5, r.Cases.Sealed), s.BindInt(6, r.Cases.Leak), s.BindInt(7, r.Cases.Inconclusive), s.BindInt(8, r.Cases.Skipped), s.BindBlob(9, report))
		if err != nil {
			return err
		}
		return s.Exec()
	})
}

// prune lets the oldest outcomes go: those over a number, and those whose reports take too much together.
func prune(c *sqlite3.Conn, keep, octets int) error {
	for _, one := range []struct {
		text string
		n    int
	}{
		{`delete from run where id not in (select id from run order by id desc limit ?)`, keep},
		{`delete from run where id in (select id from (select id, sum(length(report)) over (order by id desc) as all_of from run) where all_of > ?)`, octets},
	} {
		s, _, err := c.Prepare(one.text)
		if err != nil {
			return err
		}
		err = errors.Join(s.BindInt(1, one.n), s.Exec(), s.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// Filter says which outcomes are meant.
type Filter struct {
	Since   time.Time // not before; the zero time: from the first on
	Last    int       // so many of the latest; 0 or more than MaxRead: MaxRead
	Reports bool      // with their reports
}

// Read gives outcomes, the latest first. Where there is no file there are none.
func (h *History) Read(ctx context.Context, f Filter) ([]Run, error) {
	if f.Last <= 0 || f.Last > MaxRead {
		f.Last = MaxRead
	}
	since := int64(0)
	if !f.Since.IsZero() {
		since = f.Since.UnixMilli()
	}
	var all []Run
	err := h.with(ctx, false, func(c *sqlite3.Conn) error {
		all = nil
		s, _, err := c.Prepare(`select id, at, took, cause, verdict, sealed, leak, inconclusive, skipped, report from run where at >= ? order by id desc limit ?`)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := errors.Join(s.BindInt64(1, since), s.BindInt(2, f.Last)); err != nil {
			return err
		}
		for s.Step() {
			r := Run{
				ID: s.ColumnInt64(0), At: time.UnixMilli(s.ColumnInt64(1)).UTC(), Took: time.Duration(s.ColumnInt64(2)) * time.Millisecond,
				Cause: s.ColumnText(3), Verdict: s.ColumnText(4),
				Cases: Counts{s.ColumnInt(5), s.ColumnInt(6), s.ColumnInt(7), s.ColumnInt(8)},
			}
			if f.Reports {
				r.Report = unpack(s.ColumnRawBlob(9))
			}
			all = append(all, r)
		}
		return s.Err()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// pack makes a report small. One that is too long gives nothing.
func pack(report []byte) ([]byte, error) {
	if len(report) == 0 || len(report) > MaxReport {
		return []byte{}, nil
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(report)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// unpack gives what pack was given, or nil.
func unpack(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	report, err := io.ReadAll(io.LimitReader(r, MaxReport+1))
	if err != nil || len(report) > MaxReport {
		return nil
	}
	return report
}
