package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"watertight/acme"
	"watertight/config"
	"watertight/control"
	"watertight/gate"
	"watertight/metrics"
	"watertight/name"
	"watertight/state"
)

// kindACME is where validations by http-01 are answered.
const kindACME kind = "acme"

// wishes are what a configuration asks of the listeners.
type wishes struct {
	config.Listen
	validations  netip.AddrPort // of kindACME; not valid: none
	certificates *acme.Manager  // of those that name what they are obtained for
	files        followedFiles  // of the others
	keeper       *gate.Keeper
	mark         uint32 // on what is sent by all of them
}

func (d *Daemon) wishes(c *config.Config) wishes {
	return wishes{Listen: c.Listen, validations: c.ACME.HTTP, certificates: d.acme, files: followedFiles{}, keeper: d.keeper, mark: c.Mark()}
}

// certify completes what a listener speaks with the certificate of its files, or with the one that is obtained for it.
func (a wishes) certify(c *tls.Config, t config.ServerTLS) *tls.Config {
	if len(t.Names) > 0 {
		return a.certificates.Secure(c, t.Names)
	}
	if t.Certificate != nil {
		c.GetCertificate = a.files.follow(t)
	}
	return c
}

// certificates gives what a configuration has obtained; nil for nothing.
func (d *Daemon) certificates(c *config.Config) (*acme.Setting, error) {
	if c.ACME.IsZero() {
		return nil, nil
	}
	dir := stateDir(c, d.o.State)
	if dir == "" {
		return nil, errors.New("`acme` needs a directory for certificates, and none is known: write `state: DIR`")
	}
	store, err := state.New(dir)
	if err != nil {
		return nil, err
	}
	a := c.ACME
	s := &acme.Setting{
		Account: acme.Account{Directory: a.Directory, Roots: a.CAs, Email: a.Email, KeyID: a.KeyID, MAC: a.MAC, HTTP: a.HTTP.IsValid()},
		Store:   store, Dial: d.dialAuthority, Await: d.awaitAuthority,
	}
	add := func(t config.ServerTLS) {
		names := slices.Sorted(slices.Values(t.Names))
		if len(names) > 0 && !slices.ContainsFunc(s.Names, func(known []string) bool { return slices.Equal(known, names) }) {
			s.Names = append(s.Names, names)
		}
	}
	for _, l := range c.Listen.Proxy {
		add(l.ServerTLS)
	}
	for _, l := range c.Listen.Admin {
		add(l.ServerTLS)
	}
	for _, l := range c.Listen.Gateway {
		add(l.ServerTLS)
	}
	for _, l := range c.Listen.DNS {
		add(l.ServerTLS)
	}
	return s, nil
}

// obtain puts in force what a configuration has obtained, by the channel of its generation.
func (d *Daemon) obtain(s *acme.Setting, g *generation) error {
	if s != nil {
		for _, r := range g.channels {
			if r.Name() == g.config.ACME.Channel {
				s.Way = r
			}
		}
	}
	return d.acme.Set(s)
}

// toAuthority gives the channel to the authority, of the generation in force. The caller releases that.
func (d *Daemon) toAuthority() (*generation, *running, error) {
	g := d.board.acquire()
	for _, r := range g.channels {
		if r.Name() == g.config.ACME.Channel {
			return g, r, nil
		}
	}
	g.release()
	return nil, nil, errors.New("the configuration has no channel to the authority any more")
}

// dialAuthority connects to the authority in its channel. The configuration chose both, so no policy is asked.
func (d *Daemon) dialAuthority(ctx context.Context, t name.Target) (net.Conn, error) {
	g, r, err := d.toAuthority()
	if err != nil {
		return nil, err
	}
	defer g.release()
	return r.Dial(ctx, t)
}

// awaitAuthority waits until the channel to the authority is ready.
func (d *Daemon) awaitAuthority(ctx context.Context) error {
	g, r, err := d.toAuthority()
	if err != nil {
		return err
	}
	g.release()
	select {
	case <-r.Await():
		return nil
	case <-g.replaced:
		return errors.New("the configuration has changed")
	case <-ctx.Done():
	}
	if why := r.WhyNotReady(); why != nil {
		return fmt.Errorf("channel %s is not ready: %w", r.Name(), why)
	}
	return fmt.Errorf("channel %s is not ready: its resolver has not answered", r.Name())
}

// certificateStatus is how the certificates that are obtained do, for the control surface.
func (d *Daemon) certificateStatus() (all []control.Certificate) {
	for _, s := range d.acme.Status() {
		all = append(all, control.Certificate{
			Names: s.Names, NotAfter: instant(s.NotAfter), Next: instant(s.Next), Failures: s.Failures, LastError: s.LastError,
		})
	}
	return all
}

// instant is nil for no time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// certificateMetrics is the same for the metrics.
func (d *Daemon) certificateMetrics() (all []metrics.CertificateState) {
	for _, s := range d.acme.Status() {
		all = append(all, metrics.CertificateState{Name: s.Names[0], NotAfter: s.NotAfter, Failures: s.Failures})
	}
	return all
}
