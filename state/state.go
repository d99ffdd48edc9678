// Package state keeps small texts from one run of the program to the next, each in a file of its own in one directory.
//
// It promises that a file is there as a whole or not at all, that it is readable by its user alone, and that what comes
// back is what was written: a file that is too large, damaged, another's, or that others may read or change is an error and
// never content. It gives no meaning to the texts. It has locks for what one program alone may do.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxText is how long a text may be, in octets.
const MaxText = 64 << 10

// magic begins the first line of every file; the SHA-256 digest of the rest follows, in hexadecimal.
const magic = "watertight-state 1 "

// ErrForeign is wrapped by the error for a file that this program did not write, or that others could have read or changed.
var ErrForeign = errors.New("not a file that this user wrote for itself")

// ErrDamaged is wrapped by the error for a file whose content is not what was written.
var ErrDamaged = errors.New("damaged")

// ErrLocked says that another program, or another part of this one, has a lock.
var ErrLocked = errors.New("another program has the lock")

// Default gives the directory that stands for none: what systemd made for the service ($STATE_DIRECTORY, the first of
// it), else watertight in $XDG_STATE_HOME, else in ~/.local/state. It gives nothing where the environment names no
// absolute path.
func Default(getenv func(string) (string, bool)) string {
	if list, ok := getenv("STATE_DIRECTORY"); ok {
		if first, _, _ := strings.Cut(list, ":"); filepath.IsAbs(first) {
			return filepath.Clean(first)
		}
	}
	if base, ok := getenv("XDG_STATE_HOME"); ok && filepath.IsAbs(base) {
		return filepath.Join(base, "watertight")
	}
	if home, ok := getenv("HOME"); ok && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "watertight")
	}
	return ""
}

// Dir is a directory of texts. It is opened anew for each of them, so that there is nothing to close.
type Dir struct{ path string }

// New names a directory, which need not be there yet. Nothing is read or written.
func New(path string) (*Dir, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("state: %q is no absolute path", path)
	}
	return &Dir{filepath.Clean(path)}, nil
}

// Path gives the path of a text, for messages.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// check refuses what could lead out of the directory.
func check(name string) error {
	if name == "" || len(name) > 200 || name[0] == '.' || strings.ContainsAny(name, "/\\\x00") {
		return fmt.Errorf("state: %q is no name", name)
	}
	return nil
}

// Lock takes a lock of the directory, which it makes where there is none. It does not wait: where another has it the error is
// [ErrLocked]. The lock ends with unlock, or with the process. Its file stays.
func (d *Dir) Lock(name string) (unlock func(), err error) {
	if err := check(name); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, err
	}
	f, err := lockFile(d.Path(name))
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// Read gives a text; the error wraps [fs.ErrNotExist] where there is none.
func (d *Dir) Read(name string) ([]byte, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	f, err := openFile(d.Path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := own(info); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.Path(name), ErrForeign, err)
	}
	first := len(magic) + hex.EncodedLen(sha256.Size) + 1
	b, err := io.ReadAll(io.LimitReader(f, int64(first+MaxText+1)))
	if err != nil {
		return nil, err
	}
	if len(b) < first || !bytes.HasPrefix(b, []byte(magic)) || b[first-1] != '\n' {
		return nil, fmt.Errorf("%s: %w", d.Path(name), ErrForeign)
	}
	if len(b) > first+MaxText || string(b[len(magic):first-1]) != digest(b[first:]) {
		return nil, fmt.Errorf("%s: %w", d.Path(name), ErrDamaged)
	}
	return b[first:], nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Write puts a text in the place of what was there, or leaves that as it is where it fails. It makes the directory
// where there is none.
func (d *Dir) Write(name string, text []byte) (err error) {
	if err := check(name); err != nil {
		return err
	}
	if len(text) > MaxText {
		return fmt.Errorf("state: %s: %d octets, and at most %d are kept", name, len(text), MaxText)
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.path, ".new-*") // readable by its user alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(append([]byte(magic+digest(text)+"\n"), text...)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.Path(name)); err != nil {
		return err
	}
	d.sync()
	return nil
}

// sync has the new name survive a power cut where the system can; the old text is whole where it cannot.
func (d *Dir) sync() {
	if f, err := os.Open(d.path); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}

// own says why a file is not this user's alone, or nothing.
func own(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	return ownedHere(info)
}
