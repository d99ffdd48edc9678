package contain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Exit codes that shells give for a program that cannot be run (POSIX.1-2024, Shell, section 2.8.2).
const (
	exitNotFound      = 127
	exitNotExecutable = 126
)

// errNotExecutable is of a file that is there and is no program, or none for this user.
var errNotExecutable = errors.New("it cannot be executed")

// lookPath finds a program as shells do: by the path, where its name has a slash, else in the directories of PATH. The error is
// [exec.ErrNotFound] or [errNotExecutable].
func lookPath(file string) (string, error) {
	if strings.Contains(file, "/") {
		return file, executable(file)
	}
	var found error
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "." // as shells have it
		}
		path := filepath.Join(dir, file)
		if !strings.Contains(path, "/") {
			path = "./" + path
		}
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, errNotExecutable) {
			found = err
		}
	}
	if found != nil {
		return "", found
	}
	return "", fmt.Errorf("%s: %w", file, exec.ErrNotFound)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: %w: permission denied", path, errNotExecutable)
	case err != nil:
		return fmt.Errorf("%s: %w", path, exec.ErrNotFound)
	case info.IsDir():
		return fmt.Errorf("%s: %w: it is a directory", path, errNotExecutable)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s: %w: no one may", path, errNotExecutable)
	}
	return nil
}
