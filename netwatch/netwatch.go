// Package netwatch notices when what lies around the program becomes another: the host's network, the files by which
// other programs find their resolvers, and that the host has slept.
//
// It promises to tell of each change once, and of a storm of them no more often than its sources do. It opens no socket:
// who knows of the network is given to it. Of the files it keeps a digest, and takes nothing from them: this program
// resolves by none of them.
package netwatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Kind is what has changed.
type Kind string

// The kinds.
const (
	Network  Kind = "network"  // addresses, links or routes
	Resume   Kind = "resume"   // the host has slept, or its clock was set forward
	Resolver Kind = "resolver" // one of the files
)

// ResolverFiles are those by which programs of a host find their resolvers (resolv.conf(5), nsswitch.conf(5)).
func ResolverFiles() []string { return []string{"/etc/resolv.conf", "/etc/nsswitch.conf"} }

// Times and limits of a watch.
const (
	look    = 5 * time.Second  // between two looks at the files and the clocks
	slept   = 20 * time.Second // that one clock is ahead of the other: less is the clock being set
	maxFile = 256 << 10        // octets of a file that count
)

// Options is what a watch looks at. Network and Clocks must be given.
type Options struct {
	// Network calls a function at each change of the host's network, until its context ends; an error says why it can do
	// so no longer.
	Network func(ctx context.Context, changed func()) error
	// Files are looked at; one that is not there is a content too.
	Files []string
	// Clocks gives two times since some moment: one that stands still while the host sleeps, and one that does not.
	Clocks func() (awake, all time.Duration)
}

func (o Options) validate() error {
	switch {
	case o.Network == nil:
		return errors.New("netwatch: it needs someone who tells of changes of the network")
	case o.Clocks == nil:
		return errors.New("netwatch: it needs clocks")
	}
	return nil
}

// Run calls changed at each change until ctx ends, one at a time, and gives nil then. failed is called at most once, with
// the reason why changes of the network are not noticed any more; the rest goes on.
func Run(ctx context.Context, o Options, changed func(Kind), failed func(error)) error {
	if err := o.validate(); err != nil {
		return err
	}
	var one sync.Mutex
	tell := func(k Kind) {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() == nil {
			changed(k)
		}
	}
	var both sync.WaitGroup
	both.Go(func() {
		err := o.Network(ctx, func() { tell(Network) })
		if ctx.Err() != nil {
			return
		}
		if err == nil { // it was to go on
			err = errors.New("whoever tells of them has ended")
		}
		failed(err)
	})
	w := watch{o: o, files: make([]content, len(o.Files))}
	w.begin()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			both.Wait()
			return nil
		case <-tick.C:
		}
		if w.resumed() {
			tell(Resume)
		}
		if w.rewritten() {
			tell(Resolver)
		}
	}
}

// watch is what was there at the last look.
type watch struct {
	o     Options
	files []content
	ahead time.Duration // of the clock that does not stand still
}

// Digest gives the SHA-256 digest of a file, in hexadecimal and as a watch sees it; false where there is none. Sum is that of a
// content.
func Digest(path string) (sum string, ok bool) {
	c := read(path)
	return hex.EncodeToString([]byte(c)), c != ""
}

// Sum gives the digest of what a file has in it.
func Sum(data []byte) string {
	sum := sha256.Sum256(data[:min(len(data), maxFile)])
	return hex.EncodeToString(sum[:])
}

// content is the digest of a file as it was; empty where there is none.
type content string

func (w *watch) begin() {
	awake, all := w.o.Clocks()
	w.ahead = all - awake
	for i, path := range w.o.Files {
		w.files[i] = read(path)
	}
}

// resumed says whether the host has slept since the last look.
func (w *watch) resumed() bool {
	awake, all := w.o.Clocks()
	before := w.ahead
	w.ahead = all - awake
	return w.ahead-before >= slept
}

// rewritten says whether the content of a file is another since the last look.
func (w *watch) rewritten() bool {
	other := false
	for i, path := range w.o.Files {
		now := read(path)
		other = other || now != w.files[i]
		w.files[i] = now
	}
	return other
}

// read gives what is in a file, through links. One that cannot be read is none: whoever takes its rights away changes it for
// others too. They are small, and read anew each time: by size and time alone, not every change shows.
func read(path string) content {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "" // opening a pipe would wait
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxFile)); err != nil {
		return ""
	}
	return content(h.Sum(nil))
}
