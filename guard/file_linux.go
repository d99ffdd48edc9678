package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fileVersion = 1
	maxFile     = 256 << 10 // octets
)

// kept is what the file says should hold.
type kept struct {
	Version int            `json:"version"`
	Since   time.Time      `json:"since"`
	Mark    uint32         `json:"mark"`
	Allow   []netip.Prefix `json:"allow"`
	Digest  string         `json:"digest"` // of the rules as the kernel tells them; empty while they are loaded for the first time
}

// same says whether both are of one arming.
func (k *kept) same(as *kept) bool {
	return k != nil && as != nil && k.Since.Equal(as.Since) && k.Mark == as.Mark && slices.Equal(k.Allow, as.Allow)
}

// readFile gives what should hold; nil, where there is no file.
func readFile(path string) (*kept, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be known what should hold: %w", err)
	}
	defer f.Close()
	k, err := readKept(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n`watertight guard on` writes it anew, and `watertight guard off` takes the guard away", path, err)
	}
	return k, nil
}

func readKept(f *os.File) (*kept, error) {
	about, err := f.Stat()
	if err != nil {
		return nil, err
	}
	of, ok := about.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("whose file it is cannot be known")
	}
	if err := trusted(about.Mode(), of.Uid, uint32(os.Geteuid())); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return parseKept(b)
}

// trusted says why what a file says cannot be believed: it is one that others than root and this process's user may write to.
func trusted(mode fs.FileMode, owner, user uint32) error {
	switch {
	case !mode.IsRegular():
		return errors.New("it is not a regular file")
	case owner != 0 && owner != user:
		return fmt.Errorf("it is the file of user %d, and not of root", owner)
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("others than its owner may write to it (mode %04o)", mode.Perm())
	}
	return nil
}

func parseKept(b []byte) (*kept, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("it has more than %d octets", maxFile)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	k := new(kept)
	if err := d.Decode(k); err != nil {
		return nil, fmt.Errorf("it is not what was written: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not what was written: something follows")
	}
	if k.Version != fileVersion || k.Since.IsZero() {
		return nil, fmt.Errorf("it is of version %d, and this program knows version %d", k.Version, fileVersion)
	}
	if err := (Rules{Mark: k.Mark, Allow: k.Allow}).Check(); err != nil {
		return nil, err
	}
	return k, nil
}

// writeFile replaces the file wholly or not at all.
func writeFile(path string, k kept) error {
	b, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// putBack has the file say what it said before.
func putBack(path string, before *kept) error {
	if before == nil {
		return removeFile(path)
	}
	return writeFile(path, *before)
}

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
