package gate

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"watertight/fault"
)

// Bounds of what passwords cost.
const (
	maxProven  = 8192             // passwords that are known to be right
	provenTime = 10 * time.Minute // for how long
	maxChecks  = 128              // checks at one time, those that wait among them
	maxByPlace = 16               // of one address, or of one network of IPv6
)

// Keeper checks passwords, and knows what each user has at this time. It remembers for a while which passwords were right,
// as a digest with a key of its own that is nowhere else: a request costs argon2id only where it is the first.
type Keeper struct {
	now    func() time.Time
	secret [32]byte
	slots  chan struct{} // for each check that computes

	mu      sync.Mutex
	proven  map[digest]time.Time // until when
	checks  map[digest]*check
	byPlace map[netip.Prefix]int

	limits limits

	pass atomic.Pointer[Pass] // nil: there is none
}

type digest [sha256.Size]byte

// check is a password that is being checked; who brings the same one waits for the same answer.
type check struct {
	done  chan struct{}
	right bool
}

// NewKeeper makes a keeper without limits for users.
func NewKeeper() *Keeper {
	k := &Keeper{
		now:    time.Now,
		slots:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		proven: map[digest]time.Time{}, checks: map[digest]*check{}, byPlace: map[netip.Prefix]int{},
	}
	k.limits.users = map[string]*stay{}
	_, _ = rand.Read(k.secret[:]) // it never fails
	return k
}

// check says whether a password, or a token in its place, is that of a user. The error is a [*fault.Error].
func (k *Keeper) check(ctx context.Context, r *Rules, user, password string, from netip.Addr) error {
	if len(password) > MaxPassword {
		return refused()
	}
	if IsToken(password) {
		good, expired := r.users.checkToken(r.key, user, password, k.now())
		switch {
		case good:
			return nil
		case expired:
			return &fault.Error{Code: fault.AuthRequired, Message: "the token has expired", Hint: "make another with `watertight user token`"}
		}
		return refused()
	}
	h := r.users.by[user]
	known := h != nil
	if !known {
		h = r.users.stranger
	}
	right, err := k.matches(ctx, h, user, password, from)
	switch {
	case err != nil:
		return err
	case !right || !known:
		return refused()
	}
	return nil
}

// matches compares a password with a hash, unless it is known that they fit.
func (k *Keeper) matches(ctx context.Context, h *hash, user, password string, from netip.Addr) (bool, error) {
	d := k.digest(h.text, user, password)
	k.mu.Lock()
	if until, ok := k.proven[d]; ok && k.now().Before(until) {
		k.mu.Unlock()
		return true, nil
	}
	c := k.checks[d]
	if c == nil {
		place := placeOf(from)
		if len(k.checks) >= maxChecks || k.byPlace[place] >= maxByPlace {
			k.mu.Unlock()
			return false, &fault.Error{Code: fault.Limit, Message: "too many passwords are being checked", Hint: "try again in a moment"}
		}
		c = &check{done: make(chan struct{})}
		k.checks[d] = c
		k.byPlace[place]++
		go k.run(c, d, h, password, place)
	}
	k.mu.Unlock()
	select {
	case <-c.done:
		return c.right, nil
	case <-ctx.Done():
		return false, fault.New(fault.AuthRequired, "the password was not checked in time", ctx.Err())
	}
}

// run computes, when there is a slot for it. It ends by itself, soon: the checks are bounded.
func (k *Keeper) run(c *check, d digest, h *hash, password string, place netip.Prefix) {
	k.slots <- struct{}{}
	right := h.matches(password)
	<-k.slots
	k.mu.Lock()
	defer k.mu.Unlock()
	c.right = right
	close(c.done)
	delete(k.checks, d)
	if k.byPlace[place]--; k.byPlace[place] == 0 {
		delete(k.byPlace, place)
	}
	if right {
		k.remember(d)
	}
}

// remember keeps that a password is right. Where there is no room, what has expired goes, and else one by chance.
func (k *Keeper) remember(d digest) {
	now := k.now()
	if len(k.proven) >= maxProven {
		for old, until := range k.proven {
			if !now.Before(until) {
				delete(k.proven, old)
			}
		}
	}
	for old := range k.proven {
		if len(k.proven) < maxProven {
			break
		}
		delete(k.proven, old)
	}
	k.proven[d] = now.Add(provenTime)
}

// digest stands for a password of a user against a hash. With the hash goes what is remembered of it.
func (k *Keeper) digest(parts ...string) (d digest) {
	m := hmac.New(sha256.New, k.secret[:])
	for _, p := range parts {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(p)))
		m.Write(size[:])
		m.Write([]byte(p))
	}
	m.Sum(d[:0])
	return d
}

// placeOf is whom the checks of an address are counted for: one host may have all addresses of a /64.
func placeOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero prefix for an address that is not known
	return p
}
