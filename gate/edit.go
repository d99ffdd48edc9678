package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Errors of changes to a file of users.
var (
	ErrUserExists = errors.New("the user stands in the file already")
	ErrLastUser   = errors.New("it is the last user, and a file without users lets nobody in: remove the file and its key in the configuration instead")
)

// Change is one change to a file of users.
type Change struct {
	User string
	Line string // of NewLine; empty removes the user
	New  bool   // the user must not stand there yet; otherwise it must
}

// ReadUsersFile reads a file of users. A file that is missing is [fs.ErrNotExist].
func ReadUsersFile(path string) ([]byte, *Users, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular() || info.Size() > MaxUsersFile:
		return nil, nil, fmt.Errorf("%s is no file of at most %d octets", path, MaxUsersFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	u, err := ParseUsers(text)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return nil, nil, fmt.Errorf("%s, %w", path, err)
	}
	return text, u, nil
}

// ChangeFile changes a file of users, and leaves every other line as it is. The file is replaced as a whole, so that who
// reads it sees the old or the new one, and only its owner may read it. A first user makes the file. Of several changes at one
// time each is made to what the one before has left: they take turns by a lock of the directory.
func ChangeFile(path string, c Change) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	text, users, err := ReadUsersFile(path)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || !c.New) {
		return err
	}
	known := users != nil && users.Has(c.User)
	switch {
	case c.New && known:
		return ErrUserExists
	case !c.New && !known:
		return ErrStranger
	case c.Line == "" && len(users.Names()) == 1:
		return ErrLastUser
	case c.New && users != nil && len(users.Names()) == MaxUsers:
		return fmt.Errorf("more than %d users", MaxUsers)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if user, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && user == c.User && !strings.HasPrefix(user, "#") {
			if c.Line == "" {
				continue
			}
			line = c.Line
		}
		b.WriteString(line + "\n")
	}
	if c.New {
		b.WriteString(c.Line + "\n")
	}
	return WriteSecret(path, []byte(b.String()))
}

// NewSecret makes a file that only its owner may read and write. A file that is there stays, and the error is [fs.ErrExist].
func NewSecret(path string, text []byte) error {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "make", Path: path, Err: fs.ErrExist}
	}
	return WriteSecret(path, text)
}

// WriteSecret replaces a file by one that only its owner may read and write.
func WriteSecret(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
