package gate

import (
	"sync"
	"time"

	"watertight/fault"
)

// UserLimits bound what one user may have. Zero means no limit.
type UserLimits struct {
	Connections  int // tunnels and requests at one time
	NewPerSecond int // of them that begin in a second; as many may begin at once
}

// maxStays bounds the users that are counted at one time: where names need no proof anyone can make them up.
const maxStays = 20_000

type limits struct {
	mu    sync.Mutex
	each  UserLimits
	users map[string]*stay
}

// stay is what one user has.
type stay struct {
	open int
	full time.Time // from when on the whole burst may begin again
}

// SetUserLimits changes the limits from now on; what is open stays open.
func (k *Keeper) SetUserLimits(l UserLimits) {
	k.limits.mu.Lock()
	defer k.limits.mu.Unlock()
	k.limits.each = l
}

func nothing() {}

// enter counts one more of a user; a client without a name is not counted.
func (k *Keeper) enter(user string) (leave func(), err error) {
	l := &k.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if user == "" || l.each == (UserLimits{}) {
		return nothing, nil
	}
	now := k.now()
	s := l.users[user]
	if s == nil {
		if len(l.users) >= maxStays && !l.makeRoom(now) {
			return nil, tooMuch("more users are here than are counted")
		}
		s = &stay{}
		l.users[user] = s
	}
	if l.each.Connections > 0 && s.open >= l.each.Connections {
		return nil, tooMuch("the user has as many connections as one may")
	}
	if rate := l.each.NewPerSecond; rate > 0 {
		interval := time.Second / time.Duration(rate)
		from := s.full
		if from.Before(now) {
			from = now
		}
		if from.Sub(now) > time.Duration(rate-1)*interval {
			return nil, tooMuch("the user begins more connections than one may in a second")
		}
		s.full = from.Add(interval)
	}
	s.open++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.open--; s.open == 0 && !s.full.After(k.now()) {
			delete(l.users, user)
		}
	}), nil
}

// makeRoom forgets the users that have nothing, and says whether there were any.
func (l *limits) makeRoom(now time.Time) bool {
	for user, s := range l.users {
		if s.open == 0 && !s.full.After(now) {
			delete(l.users, user)
		}
	}
	return len(l.users) < maxStays
}

func tooMuch(why string) *fault.Error {
	return &fault.Error{Code: fault.Limit, Message: why, Hint: "try again when some have ended; the limit is `limits.per_user` in the configuration"}
}
