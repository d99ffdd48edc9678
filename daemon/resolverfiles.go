package daemon

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"watertight/control"
	"watertight/netwatch"
)

// resolverFilesFile is where it is kept what the host's resolver files had in them.
const resolverFilesFile = "resolver-files"

// maxContents is how many contents of one file are remembered.
const maxContents = 8

// contents are what the files had in them by which other programs find their resolvers, the oldest first: digests, over the runs of the
// program. Nothing is taken from the files; `watertight doctor` compares.
type contents struct {
	mu   sync.Mutex
	seen []control.ResolverFile
}

// recall takes what was kept of earlier runs.
func (c *contents) recall(m *diary) {
	if m == nil {
		return
	}
	text := m.read(resolverFilesFile)
	if text == nil {
		return
	}
	var kept []control.ResolverFile
	if err := json.Unmarshal(text, &kept); err != nil || len(kept) > maxContents*len(netwatch.ResolverFiles()) {
		m.log.Warn("what was kept of the host's resolver files is not used", "file", m.dir.Path(resolverFilesFile), "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = kept
}

// look notes what the files have now, and keeps it where it is another content than the last one.
func (c *contents) look(m *diary, files []string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := false
	for _, path := range files {
		sum, ok := netwatch.Digest(path)
		if !ok {
			continue
		}
		of := func(f control.ResolverFile) bool { return f.Path == path }
		n := 0
		var last control.ResolverFile
		for _, f := range c.seen {
			if of(f) {
				n, last = n+1, f
			}
		}
		if last.SHA256 == sum {
			continue
		}
		if n == maxContents {
			i := slices.IndexFunc(c.seen, of)
			c.seen = slices.Delete(c.seen, i, i+1)
		}
		c.seen = append(c.seen, control.ResolverFile{Path: path, SHA256: sum, At: now.UTC().Truncate(time.Second)})
		news = true
	}
	if !news || m == nil {
		return
	}
	if text, err := json.Marshal(c.seen); err == nil { // it is plain data
		m.write(resolverFilesFile, text)
	}
}

// all gives what was seen.
func (c *contents) all() []control.ResolverFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// lookAtResolverFiles notes what they have now.
func (d *Daemon) lookAtResolverFiles() {
	d.contents.look(d.sharedNow().diary, d.o.ResolverFiles, time.Now())
}
