package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Change is an edit of one file that is safe to do by machine: it takes a leak away, and nothing else that worked.
type Change struct {
	Path string `json:"path"`
	Diff string `json:"diff"` // for people, secrets masked
	old  []byte
	new  []byte
}

// NewChange makes an edit of a file that was read; nil if nothing would change, or if the file is not plain text.
func NewChange(f File, after []byte) *Change {
	if bytes.Equal(f.Data, after) || bytes.IndexByte(f.Data, 0) >= 0 || bytes.IndexByte(after, 0) >= 0 {
		return nil
	}
	return &Change{Path: f.Path, Diff: diff(f.Path, string(f.Data), string(after)), old: f.Data, new: after}
}

// ReplaceLine makes the edit that puts other text in place of a line, which counts from 1; empty text takes the line away.
func ReplaceLine(f File, line int, text string) *Change {
	all := strings.SplitAfter(string(f.Data), "\n")
	if line < 1 || line > len(all) {
		return nil
	}
	old := all[line-1]
	body := strings.TrimRight(old, "\r\n")
	if text == "" {
		all[line-1] = ""
	} else {
		all[line-1] = text + old[len(body):]
	}
	return NewChange(f, []byte(strings.Join(all, "")))
}

// Suffix is what the name of the copy ends in that [Change.Apply] keeps.
const Suffix = ".before-watertight"

// ErrChanged says that a file is not what it was when the host was looked at.
var ErrChanged = errors.New("the file was changed meanwhile; run the doctor again")

// Apply writes the change, with the file's mode and owner, in one step, and keeps what was there in a copy beside it, whose
// path on the host it gives. A file behind a link, with more than one name, or in a directory that belongs to somebody else
// than the file and root is not touched: who owns the directory could have it lead elsewhere.
func (h *Host) Apply(c *Change) (backup string, err error) {
	parent, name := path.Split(c.Path)
	if real, ok := h.Files.Real(c.Path); !ok || real != c.Path {
		return "", fmt.Errorf("%s is behind a link: change it by hand", c.Path)
	}
	dir, err := h.Files.root.OpenRoot(local(path.Clean(parent)))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	there, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", c.Path)
	}
	if why := unsafe(there, info); why != "" {
		return "", fmt.Errorf("%s %s: change it by hand", c.Path, why)
	}
	if err := same(dir, name, info, c.old); err != nil {
		return "", err
	}
	saved, err := save(dir, name, info, c.old)
	if err != nil {
		return "", err
	}
	next := name + ".watertight-new"
	if err := write(dir, next, info, c.new); err != nil {
		return "", err
	}
	if err := dir.Rename(next, name); err != nil {
		_ = dir.Remove(next) // the first error tells
		return "", err
	}
	return path.Join(parent, saved), nil
}

// same makes sure that a file still is what was looked at.
func same(dir *os.Root, name string, info fs.FileInfo, want []byte) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return ErrChanged
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(data, want) {
		return ErrChanged
	}
	return nil
}

// save writes the copy, under a name that is not taken.
func save(dir *os.Root, name string, info fs.FileInfo, data []byte) (string, error) {
	for i := range 100 {
		saved := name + Suffix
		if i > 0 {
			saved = fmt.Sprintf("%s.%d", saved, i)
		}
		err := write(dir, saved, info, data)
		if !errors.Is(err, fs.ErrExist) {
			return saved, err
		}
	}
	return "", fmt.Errorf("there are a hundred copies of %s already", name)
}

// write makes a new file with the mode and owner of another.
func write(dir *os.Root, name string, like fs.FileInfo, data []byte) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, keepOwner(f, like))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		_ = dir.Remove(name) // the first error tells
	}
	return err
}

// diff is the change as a unified diff with three lines around it, as one hunk.
func diff(name, before, after string) string {
	const around = 3
	a, b := slices.Collect(strings.Lines(before)), slices.Collect(strings.Lines(after))
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	from := max(head-around, 0)
	endA, endB := min(len(a)-tail+around, len(a)), min(len(b)-tail+around, len(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %[1]s\n+++ %[1]s\n@@ -%d,%d +%d,%d @@\n", Plain(name), from+1, endA-from, from+1, endB-from)
	put := func(sign string, lines []string) {
		for _, l := range lines {
			out.WriteString(sign + clip(Mask(strings.TrimRight(l, "\r\n"))) + "\n")
		}
	}
	put(" ", a[from:head])
	put("-", a[head:len(a)-tail])
	put("+", b[head:len(b)-tail])
	put(" ", a[len(a)-tail:endA])
	return out.String()
}
