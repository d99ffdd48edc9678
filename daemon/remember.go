package daemon

import (
	"context"
	"time"

	"watertight/config"
)

// remember makes the diary and the floor of the time, once. A clock that is behind is told; the program starts all the
// same, and its channels say why they are not ready.
func (d *Daemon) remember(c *config.Config) error {
	m, err := d.diaryOf(c)
	if err != nil {
		return err
	}
	s := d.shared
	s.diary, s.floor = m, m.floor()
	d.setShared(s)
	if m == nil && c.State != config.NoState {
		d.o.Log.Warn("no directory is known for what is learnt of the keys of the root and of the time, which is forgotten at the end",
			"hint", "write `state: DIR`, or `state: none`")
	}
	if err := s.floor.Check(time.Now()); err != nil {
		d.o.Log.Error("the clock of this host is wrong: no resolver is trusted and nothing is validated until it is set", "error", err)
	}
	m.keepPassed(s.floor.At())
	return nil
}

// diaryOf gives the diary for a configuration: the one that is there, if it is in the same place.
func (d *Daemon) diaryOf(c *config.Config) (*diary, error) {
	next, err := newDiary(stateDir(c, d.o.State), d.o.Log)
	if now := d.sharedNow().diary; err == nil && next != nil && now != nil && *now.dir == *next.dir {
		return now, nil
	}
	return next, err
}

// sharedNow gives what is shared at this moment.
func (d *Daemon) sharedNow() shared {
	d.sharedMu.RLock()
	defer d.sharedMu.RUnlock()
	return d.shared
}

func (d *Daemon) setShared(s shared) {
	d.sharedMu.Lock()
	defer d.sharedMu.Unlock()
	d.shared = s
}

// moveDiary puts what a reload made in force. What is known of the time goes with it, to where it is kept now.
func (d *Daemon) moveDiary(s shared) {
	if s.diary != d.sharedNow().diary {
		s.floor.Raise(s.diary.passed(), time.Now())
		s.diary.keepPassed(s.floor.At())
	}
	d.setShared(s)
}

// keepTime keeps what is known of the time as it rises, until ctx ends.
func (d *Daemon) keepTime(ctx context.Context) {
	for more := true; more; {
		select {
		case <-d.sharedNow().floor.Risen():
		case <-ctx.Done():
			more = false
		}
		now := d.sharedNow()
		now.diary.keepPassed(now.floor.At())
	}
}
