package daemon

import (
	"path/filepath"
	"sync"
	"time"

	"watertight/config"
)

// history is what became of the configurations so far.
type history struct {
	mu       sync.Mutex
	file     string
	loadedAt time.Time
	reloads  uint64
	lastErr  error
}

// loaded notes a configuration that is in force now, or one that could not be.
func (h *history) loaded(c *config.Config, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastErr = err
	if err != nil {
		return
	}
	if !h.loadedAt.IsZero() {
		h.reloads++
	}
	h.file, h.loadedAt = c.File, time.Now()
	if path, err := filepath.Abs(c.File); err == nil && c.File != "" {
		h.file = path
	}
}
