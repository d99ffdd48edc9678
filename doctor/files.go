package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Limits of what is read.
const (
	MaxFile    = 1 << 20  // octets of a file
	maxTable   = 16 << 20 // octets of a table of the kernel's, of which what is beyond is left out: about 110,000 sockets
	maxRead    = 64 << 20 // octets of all files of one run
	maxEntries = 8192     // of a directory that are looked at
	maxLinks   = 32       // that are followed on the way to a file
	maxMatches = 4096     // of one pattern
	maxBlind   = 64       // files of which it is told that they could not be read
)

// Files are those of a host, below a root. Paths are absolute, with slashes, as they are on that host; links are followed
// within the root. Whatever is not there, may not be read or is beyond a limit is not there for a rule; the latter two are
// remembered in [Files.Blind].
type Files struct {
	*shelf
	ctx context.Context // of the rule that looks
}

// shelf is what all views of the files have in common.
type shelf struct {
	root *os.Root
	dir  string

	mu    sync.Mutex
	read  map[string]*File
	total int
	blind []string

	scopes []Scope // of the host, once they were gathered
	clones []Clone // of the host, once they were searched
	cloned bool
}

// File is a file that was read.
type File struct {
	Path string // as it was asked for
	Data []byte // at most MaxFile octets: do not change them
	Info fs.FileInfo
}

// Lines gives the lines, without their ends.
func (f File) Lines() []string {
	text := strings.TrimSuffix(strings.ReplaceAll(string(f.Data), "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// At is a line of the file as evidence. The line counts from 1; a secret in the text is masked.
func (f File) At(line int, text string) string {
	return fmt.Sprintf("%s:%d: %s", f.Path, line, clip(Mask(strings.TrimSpace(text))))
}

func openFiles(dir string) (*shelf, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &shelf{root: root, dir: dir, read: map[string]*File{}}, nil
}

// Read gives a file that is regular, and whether there is one.
func (f Files) Read(name string) (File, bool) {
	if f.ctx.Err() != nil {
		return File{}, false
	}
	if strings.HasPrefix(name, "/proc/") {
		file, err := f.open(name) // it changes, and there are many
		return file, err == nil
	}
	f.mu.Lock()
	have, ok := f.shelf.read[name]
	f.mu.Unlock()
	if ok {
		if have == nil {
			return File{}, false
		}
		return *have, true
	}
	file, err := f.open(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.note(name, err)
		f.shelf.read[name] = nil
		return File{}, false
	}
	f.total += len(file.Data)
	f.shelf.read[name] = &file
	return file, true
}

// Table gives the beginning of a table of the kernel's in /proc/net, which may have a line for each of many sockets. Of one that is
// longer than that the rest is not seen, which is remembered.
func (f Files) Table(name string) ([]byte, bool) {
	if f.ctx.Err() != nil {
		return nil, false
	}
	file, _, err := f.regular(name)
	if err != nil {
		if f.Has(name) {
			f.blindTo(name + ": it cannot be read")
		}
		return nil, false
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTable+1))
	if len(data) > maxTable {
		data = data[:bytes.LastIndexByte(data[:maxTable], '\n')+1]
		err = errors.New("it is longer")
	}
	if err != nil {
		f.blindTo(name + ": it has more sockets than are looked at")
	}
	return data, true
}

// blindTo remembers what could not be looked at.
func (f Files) blindTo(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.blind) < maxBlind && !slices.Contains(f.blind, text) {
		f.blind = append(f.blind, text)
	}
}

// Has says whether there is something at a path, of whatever kind.
func (f Files) Has(name string) bool {
	_, ok := f.Stat(name)
	return ok
}

// Stat follows links.
func (f Files) Stat(name string) (fs.FileInfo, bool) {
	real, ok := f.Real(name)
	if !ok {
		return nil, false
	}
	info, err := f.root.Lstat(local(real))
	return info, err == nil
}

// Link gives the text of a symbolic link.
func (f Files) Link(name string) (string, bool) {
	if f.ctx.Err() != nil {
		return "", false
	}
	parent, ok := f.Real(path.Dir(name))
	if !ok {
		return "", false
	}
	text, err := f.root.Readlink(local(path.Join(parent, path.Base(name))))
	return filepath.ToSlash(text), err == nil
}

// Links gives the texts of the symbolic links in a directory.
func (f Files) Links(name string) []string {
	real, ok := f.Real(name)
	if !ok {
		return nil
	}
	names := f.Dir(real)
	dir, err := f.root.OpenRoot(local(real))
	if err != nil {
		return nil // what may not be read is told of by Dir
	}
	defer dir.Close()
	var all []string
	for _, n := range names {
		if f.ctx.Err() != nil {
			return nil
		}
		if text, err := dir.Readlink(n); err == nil {
			all = append(all, filepath.ToSlash(text))
		}
	}
	return all
}

// Real gives the path without links, and whether there is something at its end.
func (f Files) Real(name string) (string, bool) {
	real, err := f.real(name)
	return real, err == nil
}

func (f Files) real(name string) (string, error) {
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	at, links := "/", 0
	for len(rest) > 0 {
		if err := f.ctx.Err(); err != nil {
			return "", err
		}
		step := rest[0]
		rest = rest[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		info, err := f.root.Lstat(local(next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", errors.New("too many links")
		}
		text, err := f.root.Readlink(local(next))
		if err != nil {
			return "", err
		}
		text = filepath.ToSlash(text)
		if strings.HasPrefix(text, "/") {
			at = "/"
		}
		rest = append(strings.Split(text, "/"), rest...)
	}
	return at, nil
}

// regular opens a regular file. Between the look at it and the opening it may be changed by who owns it, so what was opened has
// to be what was looked at.
func (f Files) regular(name string) (*os.File, fs.FileInfo, error) {
	real, err := f.real(name)
	if err != nil {
		return nil, nil, err
	}
	looked, err := f.root.Lstat(local(real))
	if err != nil {
		return nil, nil, err
	}
	if !looked.Mode().IsRegular() {
		return nil, nil, fs.ErrNotExist
	}
	file, err := f.root.OpenFile(local(real), openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(looked, info) {
		err = errors.New("it was changed while it was looked at")
	}
	if err != nil {
		_ = file.Close() // the first error tells
		return nil, nil, err
	}
	return file, info, nil
}

// open reads a file.
func (f Files) open(name string) (File, error) {
	file, info, err := f.regular(name)
	if err != nil {
		return File{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	switch {
	case err != nil:
		return File{}, err
	case len(data) > MaxFile:
		return File{}, fmt.Errorf("it has more than %d octets", MaxFile)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total+len(data) > maxRead {
		return File{}, fmt.Errorf("all files together have more than %d octets", maxRead)
	}
	return File{Path: name, Data: data, Info: info}, nil
}

// Dir gives the names in a directory, in order.
func (f Files) Dir(name string) []string {
	real, ok := f.Real(name)
	if !ok {
		return nil
	}
	if info, err := f.root.Lstat(local(real)); err != nil || !info.IsDir() {
		return nil // to open a pipe is to wait
	}
	dir, err := f.root.OpenFile(local(real), openFlags, 0)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note(name, err)
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	if len(names) > maxEntries {
		names = names[:maxEntries]
		f.blindTo(Plain(name) + ": it has more entries than are looked at")
	}
	slices.Sort(names)
	return names
}

// Glob gives the paths that match a pattern of [path.Match], in order. A directory in the pattern may be a pattern too.
func (f Files) Glob(pattern string) []string {
	found := []string{"/"}
	for step := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, at := range found {
			if !strings.ContainsAny(step, `*?[\`) {
				next = append(next, path.Join(at, step)) // whether it is there, is seen by the next pattern, or at the end
				continue
			}
			for _, name := range f.Dir(at) {
				if ok, err := path.Match(step, name); !ok || err != nil {
					continue
				}
				if len(next) == maxMatches {
					f.blindTo(Plain(pattern) + ": there are more of them than are looked at")
					break
				}
				next = append(next, path.Join(at, name))
			}
		}
		found = next
	}
	return slices.DeleteFunc(found, func(name string) bool { return !f.Has(name) })
}

// Blind gives what could not be looked at, and why.
func (f Files) Blind() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.blind)
}

// note remembers what could not be read, unless it is not there. The lock is held.
func (s *shelf) note(name string, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ESRCH) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	if strings.HasPrefix(name, "/proc/") || len(s.blind) >= maxBlind {
		return // those of processes are counted elsewhere
	}
	why := "it cannot be read"
	if errors.Is(err, fs.ErrPermission) {
		why = "permission denied"
		for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if slices.Contains(s.blind, dir+": "+why) {
				return // that is said of all that is below
			}
		}
	} else if _, ok := errors.AsType[*fs.PathError](err); !ok {
		why = err.Error()
	}
	if text := name + ": " + why; !slices.Contains(s.blind, text) {
		s.blind = append(s.blind, text)
	}
}

// local is a path of the host as one below the root.
func local(name string) string {
	if name == "/" {
		return "."
	}
	return filepath.FromSlash(strings.TrimPrefix(name, "/"))
}
