//go:build !linux

package guard

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

const fileVersion = 1

type kept struct {
	Version int
	Since   time.Time
	Mark    uint32
	Allow   []netip.Prefix
	Digest  string
}

func (k *kept) same(as *kept) bool {
	return k != nil && as != nil && k.Mark == as.Mark && slices.Equal(k.Allow, as.Allow)
}

func readFile(string) (*kept, error) { return nil, ErrNotLinux }
func writeFile(string, kept) error   { return ErrNotLinux }
func putBack(string, *kept) error    { return ErrNotLinux }
func removeFile(string) error        { return ErrNotLinux }

func (g *Guard) load(context.Context, string) error  { return ErrNotLinux }
func (g *Guard) list(context.Context) (found, error) { return found{}, ErrNotLinux }

func tables() ([]string, error) { return nil, ErrNotLinux }

// Uplinks are not known here.
func Uplinks() ([]string, error) { return nil, ErrNotLinux }

// Inbound is not known here.
func Inbound() ([]Flow, error) { return nil, ErrNotLinux }
