package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNotRunning says that no program serves the control socket.
var ErrNotRunning = errors.New("no Watertight is running for this configuration")

// ErrSeveral says that more than one running program is meant.
var ErrSeveral = errors.New("more than one Watertight is running for this configuration")

// Limits on a search.
const (
	maxSockets = 256             // looked at in each directory
	findLimit  = 3 * time.Second // for each program to tell its status
)

// Wanted says which running program is meant.
type Wanted struct {
	// Listen are addresses of its proxy ports. If there are any, they alone decide.
	Listen []netip.AddrPort
	// File is the absolute path of its configuration; empty for the defaults.
	File string
}

// Find gives the control socket of the one running program that is meant, wherever it was started: as this user, or as
// a service of the host. Each program tells itself where it listens and which configuration is in force, so neither
// needs to be read here, and a reload may have changed both. The error is [ErrNotRunning], [ErrSeveral], or says why
// it cannot be told.
func Find(ctx context.Context, w Wanted) (string, error) { return thisHost().find(ctx, w) }

// found is a program that told its status.
type found struct {
	socket string
	status Status
}

func (h host) find(ctx context.Context, w Wanted) (string, error) {
	running, refused := h.running(ctx)
	meant := slices.DeleteFunc(slices.Clone(running), func(f found) bool { return !w.means(f.status) })
	switch {
	case len(meant) == 1:
		return meant[0].socket, nil
	case len(meant) > 1:
		return "", fmt.Errorf("%w; say which by its address, with --listen:\n%s", ErrSeveral, list(meant))
	case len(running) > 0:
		err := fmt.Errorf("%w (%s); others are, and --listen names one by its address:\n%s", ErrNotRunning, w, list(running))
		if refused != nil {
			err = fmt.Errorf("%w\n  there may be more: %w", err, refused)
		}
		return "", err
	case refused != nil:
		return "", fmt.Errorf("control: %w", refused)
	}
	var looked []string
	for _, p := range h.places() {
		looked = append(looked, p.dir)
	}
	return "", fmt.Errorf("%w (%s; looked in %s); start it with `watertight run`", ErrNotRunning, w, strings.Join(looked, ", "))
}

// means says whether a program with this status is meant.
func (w Wanted) means(s Status) bool {
	for _, at := range w.Listen {
		if !slices.ContainsFunc(s.Listeners, func(l Listener) bool { return l.Kind == "proxy" && sameAddress(l.Address, at) }) {
			return false
		}
	}
	return len(w.Listen) > 0 || samePath(s.Config.Path, w.File)
}

// sameAddress compares socket addresses. All of IPv4 is the same as all of IPv6, which the kernel makes of it.
func sameAddress(text string, b netip.AddrPort) bool {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return a.Port() == b.Port() && (x == y || x.IsUnspecified() && y.IsUnspecified())
}

// samePath compares files: by their names, and where that does not tell, by what is there.
func samePath(a, b string) bool {
	if a == b || a == "" || b == "" {
		return a == b
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// String tells in words what is wanted.
func (w Wanted) String() string {
	if len(w.Listen) == 0 {
		return named(w.File)
	}
	texts := make([]string, len(w.Listen))
	for i, at := range w.Listen {
		texts[i] = at.String()
	}
	return strings.Join(texts, ", ")
}

func named(file string) string {
	if file == "" {
		return "the defaults"
	}
	return file
}

// list shows programs for people, one on a line.
func list(programs []found) string {
	var lines []string
	for _, f := range programs {
		var at []string
		for _, l := range f.status.Listeners {
			if l.Kind == "proxy" {
				at = append(at, l.Address)
			}
		}
		lines = append(lines, clean(fmt.Sprintf("  %s: pid %d, %s", strings.Join(at, ", "), f.status.PID, named(f.status.Config.Path))))
	}
	return strings.Join(lines, "\n")
}

// running asks all programs whose sockets this user can reach. The error is the first thing in the way, if any.
func (h host) running(ctx context.Context) ([]found, error) {
	var paths []string
	var refused error
	for _, p := range h.places() {
		// What another user puts among the temporary files must not pass for ours.
		if !p.service && checkPrivate(p.dir) != nil {
			continue
		}
		here, err := sockets(p.dir)
		if refused == nil {
			refused = err
		}
		paths = append(paths, here...)
	}
	ctx, cancel := context.WithTimeout(ctx, findLimit)
	defer cancel()
	all, errs := make([]found, len(paths)), make([]error, len(paths))
	var asking sync.WaitGroup
	for i, path := range paths {
		asking.Go(func() {
			all[i].socket = path
			all[i].status, errs[i] = FetchStatus(ctx, path)
		})
	}
	asking.Wait()
	var alive []found
	for i, err := range errs {
		switch {
		case err == nil:
			alive = append(alive, all[i])
		case refused == nil && !errors.Is(err, ErrNotRunning):
			refused = err
		}
	}
	return alive, refused
}

// sockets lists the control sockets in a directory, which need not be there.
func sockets(dir string) ([]string, error) {
	d, err := os.Open(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: run this as that user, or with sudo", dir)
	case err != nil:
		return nil, err
	}
	defer d.Close()
	var paths []string
	for len(paths) < maxSockets {
		entries, err := d.ReadDir(maxSockets)
		for _, e := range entries {
			if e.Type() == fs.ModeSocket && filepath.Ext(e.Name()) == suffix {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return paths[:min(len(paths), maxSockets)], nil
}
