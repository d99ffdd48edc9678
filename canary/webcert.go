package canary

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"watertight/visit"
)

// certificateLook is how often the files of a certificate are looked at.
const certificateLook = 10 * time.Second

// Certificate is one in files, which are read again when they change.
type Certificate struct {
	files [2]string
	log   *slog.Logger
	now   atomic.Pointer[tls.Certificate]

	looked, read [2]fileStamp // of Run alone, once it runs
}

// fileStamp is how a file was.
type fileStamp struct {
	changed time.Time
	size    int64
}

// OpenCertificate reads a certificate and its key from files in PEM.
func OpenCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{files: [2]string{cert, key}, log: log}
	c.read = c.stamps()
	c.looked = c.read
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	c.now.Store(&pair)
	return c, nil
}

// Get gives the certificate of the moment, for [tls.Config].
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }

// For says whether the certificate is one for the page of a zone and for the names of its visits.
func (c *Certificate) For(zone string) error {
	leaf := c.now.Load().Leaf
	for _, host := range []string{zone, visit.NewLabel() + "." + zone} {
		if err := leaf.VerifyHostname(host); err != nil {
			names := "no name"
			if len(leaf.DNSNames) > 0 {
				names = strings.Join(leaf.DNSNames, ", ")
			}
			return fmt.Errorf("the page needs a certificate for %s and *.%[1]s, and %s is for %s", zone, c.files[0], names)
		}
	}
	return nil
}

// Holds says whether the certificate holds at a time.
func (c *Certificate) Holds(at time.Time) bool {
	leaf := c.now.Load().Leaf
	return !at.Before(leaf.NotBefore) && !at.After(leaf.NotAfter)
}

// Run reads the files again when they have changed, until ctx ends. What cannot be read is not used: the certificate before is
// shown until they change again.
func (c *Certificate) Run(ctx context.Context) error {
	t := time.NewTicker(certificateLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.look()
		}
	}
}

// look reads the files once they have stayed the same from one look to the next: both are seldom replaced at one moment.
func (c *Certificate) look() {
	now := c.stamps()
	settled := now == c.looked
	c.looked = now
	if !settled || now == c.read || slices.Contains(now[:], fileStamp{}) {
		return
	}
	c.read = now
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		c.log.Error("the certificate has changed and is not used; the one before is still shown", "file", c.files[0], "error", err)
		return
	}
	if !slices.EqualFunc(c.now.Swap(&pair).Certificate, pair.Certificate, bytes.Equal) {
		c.log.Info("the certificate has changed, and was read again", "file", c.files[0])
	}
}

func (c *Certificate) stamps() (all [2]fileStamp) {
	for i, path := range c.files {
		if info, err := os.Stat(path); err == nil {
			all[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return all
}
