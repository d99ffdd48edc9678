package daemon

import (
	"errors"
	"fmt"
	"syscall"

	"watertight/config"
	"watertight/hop"
	"watertight/wire"
)

// marked gives a ground that puts a mark on all that it sends, if it is not 0.
func marked(g hop.Ground, mark uint32) (hop.Ground, error) {
	if mark == 0 {
		return g, nil
	}
	m, ok := g.(interface{ Marked(uint32) wire.Dialer })
	if !ok {
		return nil, errors.New("daemon: the configuration has a mark, and the ground puts none on what it sends")
	}
	return m.Marked(mark), nil
}

// groundFor gives the ground for a command that opens the channels of a configuration by itself: marked where there is a `guard`,
// which would let nothing else through. Where it may not be marked, the error says so, and nothing is to be sent.
func groundFor(c *config.Config, g hop.Ground) (hop.Ground, error) {
	if c.Guard == nil {
		return g, nil
	}
	if err := mayMark(c); err != nil {
		return nil, err
	}
	return marked(g, c.Mark())
}

// mayMark refuses to start where no connection could be made, since none could be marked.
func mayMark(c *config.Config) error {
	mark := c.Mark()
	if mark == 0 {
		return nil
	}
	key, instead := "guard", "with `guard` in the configuration everything that is sent bears a mark, or the host's guard would not let it through; a program of an ordinary user is carried by the running proxy: `watertight exec --attach`"
	if c.Listen.Mark() != 0 {
		key, instead = "listen.transparent.mark", "or leave `mark` out, and have the firewall know the program by its user"
	}
	switch err := wire.MayMark(mark); {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: a mark takes CAP_NET_ADMIN: `setcap cap_net_admin+ep` on the program, or AmbientCapabilities=CAP_NET_ADMIN in its unit; %s", key, instead)
	case err != nil:
		return fmt.Errorf("%s: no mark can be put on what is sent: %w", key, err)
	}
	return nil
}

// sameMark refuses a reload that would change what the program's own connections are known by.
func (d *Daemon) sameMark(c *config.Config) error {
	before := d.o.Config
	if first := len(before.Listen.Transparent) == 0 && len(c.Listen.Transparent) > 0; !first && c.Mark() == before.Mark() {
		return nil
	}
	key := "the first `listen.transparent`, and its `mark`, want"
	if c.Listen.Mark() == before.Listen.Mark() && c.Mark() != before.Mark() {
		key = "the first `guard`, and the last, want"
	}
	return invalid{fmt.Errorf("%s a restart: connections that are open would not be known for the program's own", key)}
}
