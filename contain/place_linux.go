package contain

import (
	"errors"
	"net"
	"syscall"

	"watertight/contain/hull"
)

// place says what the program is to find around it, while its first process starts.
func (p *Program) place(setup Setup) {
	defer close(p.placed)
	relative, unplaced, err := hull.Relative()
	if err == nil {
		setup.Relative, setup.Unplaced = relative, some(unplaced)
		err = say(p.pair, order{Setup: &setup})
	}
	if err == nil || hungUp(err) { // the end of the other has its own reason
		return
	}
	p.mu.Lock()
	p.unfit = err
	p.mu.Unlock()
	p.Kill()
}

// hungUp says whether the process at the other end is gone.
func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// why gives the reason why something cannot be said to the first process inside: that of its end, where it has ended.
func (p *Program) why(err error) error {
	if !hungUp(err) {
		return err
	}
	<-p.gone
	return p.failed
}
