package contain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Stage is what a program finds when it starts: its network, and the files of the host that say how names are
// resolved, replaced by others that only this program sees.
type Stage struct {
	Net   *Net              // nil: the network of this process
	Files map[string]string // path to content; the path must exist on this host, be it as a link that leads nowhere
	Masks []string          // directories that shall look empty; one that does not exist is passed over
}

// stageName is argv[0] of this program when it is to set a stage and then become another program.
const stageName = "watertight-stage"

// stageSpec travels to the child in its environment, under stageVar.
type stageSpec struct {
	Path  string            `json:"path"`
	Net   bool              `json:"net"` // the namespace is file descriptor 3
	Files map[string]string `json:"files"`
	Masks []string          `json:"masks"`
}

const stageVar = "WATERTIGHT_STAGE"

// Command gives a command that sets the stage and then becomes the program at path, an absolute path. It works
// where this process may make mount namespaces: inside a namespace made by [Private], or as root. The program that
// calls it must call [Child] first of all in main. Env must be set with the second argument, not on the command.
// Release is to be called once the command was started, or is not going to be.
func (s Stage) Command(ctx context.Context, env []string, path string, args ...string) (cmd *exec.Cmd, release func(), err error) {
	if !filepath.IsAbs(path) {
		return nil, nil, fmt.Errorf("contain: %s: not an absolute path", path)
	}
	spec, err := json.Marshal(stageSpec{Path: path, Net: s.Net != nil, Files: s.Files, Masks: s.Masks})
	if err != nil {
		return nil, nil, fmt.Errorf("contain: %w", err)
	}
	cmd = exec.CommandContext(ctx, Self, args...)
	cmd.Args[0] = stageName
	cmd.Env = append(append([]string(nil), env...), stageVar+"="+string(spec))
	release = func() {}
	if s.Net != nil {
		file, err := s.Net.file()
		if err != nil {
			return nil, nil, err
		}
		cmd.ExtraFiles = []*os.File{file}
		release = func() { _ = file.Close() }
	}
	return cmd, release, nil
}

// Child sets the stage and becomes the program it was set for, or is the first process of a contained program's namespaces, if
// this process was started for that; otherwise it returns at once. It must be called before anything else in main.
func Child() {
	switch {
	case len(os.Args) > 1 && strings.HasPrefix(os.Args[0], innerName):
		os.Exit(runInner(strings.TrimPrefix(os.Args[0], innerName), os.Args[1:]))
	case len(os.Args) == 0 || os.Args[0] != stageName:
		return
	}
	err := setAndBecome()
	fmt.Fprintln(os.Stderr, "watertight: could not contain the program:", err)
	os.Exit(ExitUncontained)
}

// ExitUncontained is the exit code of a program that could not be contained and therefore was not started.
const ExitUncontained = 125

func setAndBecome() error {
	runtime.LockOSThread()
	var spec stageSpec
	if err := json.Unmarshal([]byte(os.Getenv(stageVar)), &spec); err != nil {
		return err
	}
	if spec.Net {
		if err := unix.Setns(3, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
	}
	if len(spec.Files)+len(spec.Masks) > 0 {
		if err := setMounts(spec); err != nil {
			return err
		}
	}
	// Of this process's files the program gets its input, output and errors, and no other.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep files from the program: %w", err)
	}
	env := os.Environ()
	for i, v := range env {
		if strings.HasPrefix(v, stageVar+"=") {
			env = append(env[:i], env[i+1:]...)
			break
		}
	}
	args := append([]string{spec.Path}, os.Args[1:]...)
	return fmt.Errorf("%s: %w", spec.Path, unix.Exec(spec.Path, args, env))
}

func setMounts(spec stageSpec) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// The contents lie in a file system of their own, which is let go of once they are bound elsewhere.
	dir, err := os.MkdirTemp("", "watertight-stage-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(dir) }()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("make room for files: %w", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	contents, err := contentsOf(dir, spec.Files)
	if err != nil {
		return err
	}
	for _, dir := range spec.Masks {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mask %s: %w", dir, err)
		}
	}
	for path, file := range contents {
		target, err := follow(path, spec.Masks)
		if err != nil {
			return err
		}
		source := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("replace %s: %w", path, err)
		}
		_ = file.Close()
	}
	return nil
}

// contentsOf writes each content into a file below dir and opens it, so that it is found after dir is masked.
func contentsOf(dir string, files map[string]string) (map[string]*os.File, error) {
	opened := map[string]*os.File{}
	for path, content := range files {
		name := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return nil, err
		}
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		opened[path] = os.NewFile(uintptr(fd), name)
	}
	return opened, nil
}

var errDangling = errors.New("it does not exist on this host, and cannot be made without changing the host")

// follow finds the file that path leads to. A link that leads into a mask finds nothing there: the file is made.
func follow(path string, masks []string) (string, error) {
	at := path
	for range 16 {
		link, err := os.Readlink(at)
		if err != nil {
			break
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(at), link)
		}
		at = filepath.Clean(link)
	}
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	for _, mask := range masks {
		if strings.HasPrefix(at, mask+"/") {
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				return "", err
			}
			return at, os.WriteFile(at, nil, 0o644)
		}
	}
	return "", fmt.Errorf("replace %s: %w", path, errDangling)
}
