// Package guard arms the firewall of this host, so that nothing leaves it but what Watertight sends, what the link itself needs, and
// what the configuration allows: nf_tables, as text through the program nft, in two tables called watertight_guard.
//
// It promises that rules come into force wholly or not at all and replace those of before without a gap; that what was armed is read
// back and stands in a file of root's, so that [Guard.Look] tells whether the kernel has it still; that what is armed stays until
// [Guard.Off], whoever ends; and that a file that is torn or that others may write to is an error and never "off".
//
// It never turns the guard on or off by itself, never adds to rules of others or takes any away, and sends no packet. What is armed
// goes by a mark on each packet, not by where the packet is for. It takes Linux 5.16, nft, and root or CAP_NET_ADMIN.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// DefaultFile is where it is kept what should hold.
const DefaultFile = "/run/watertight-guard.json"

// Errors that are expected.
var (
	ErrNotLinux = errors.New("the guard is the firewall of Linux, and this is another system")
	ErrNoNft    = errors.New("there is no program nft in /usr/sbin, /sbin or /usr/bin; install the package nftables")
	ErrRights   = errors.New("the firewall is for root alone, or for a process that has CAP_NET_ADMIN")
)

// Options of a guard.
type Options struct {
	Nft  string // the path of nft; empty: it is looked for in /usr/sbin, /sbin and /usr/bin, and not in PATH
	File string // where it is kept what should hold; empty: [DefaultFile]
}

// Guard is the firewall of the network namespace that the calling thread is in. Its methods may be called at once from several
// goroutines, but no two should change it.
type Guard struct {
	nft, file string
	loaded    seen
}

// New gives the guard, and touches nothing.
func New(o Options) *Guard {
	if o.File == "" {
		o.File = DefaultFile
	}
	return &Guard{nft: o.Nft, file: o.File}
}

// Counters are packets that were refused since the guard was armed.
type Counters struct {
	DNS        uint64 `json:"dns"`         // plain DNS: port 53
	DoT        uint64 `json:"dot"`         // DNS over TLS and over QUIC: port 853
	LocalNames uint64 `json:"local_names"` // mDNS, LLMNR, NetBIOS: ports 5353, 5355, 137
	Forwarded  uint64 `json:"forwarded"`   // what came from elsewhere, such as a container, and was to be passed on
	Raw        uint64 `json:"raw"`         // frames that no firewall of IP has passed
	Other      uint64 `json:"other"`       // all else that programs of this host sent
}

// State is what the guard is found to be.
type State struct {
	Armed    bool           // it was turned on, and not off
	Held     bool           // the kernel has all of it
	Why      string         // where it is armed and not held, or where there are tables and it is not armed: what differs
	Since    time.Time      // when it was turned on
	Mark     uint32         // by which packets of Watertight are known
	Allow    []netip.Prefix // networks that everybody may reach
	Uplinks  []string       // devices whose frames are looked at
	Counters Counters
}

// On arms the guard, or arms it anew with other rules. Where it returns an error that is no [*KeptError], the kernel's rules were not
// changed. A file that cannot be trusted is replaced.
func (g *Guard) On(ctx context.Context, r Rules) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	if _, err := tables(); err != nil { // says at once who may not
		return fmt.Errorf("guard: nothing was changed: %w", err)
	}
	before, unknown := readFile(g.file)
	// The file comes first: who looks meanwhile finds that the guard is to be on, and who is killed here leaves it so.
	should := kept{Version: fileVersion, Since: time.Now().UTC().Truncate(time.Second), Mark: r.Mark, Allow: r.Allow}
	if err := writeFile(g.file, should); err != nil {
		return fmt.Errorf("guard: nothing was changed: %w", err)
	}
	switch err := g.load(ctx, r.text(Counters{})); {
	case err != nil && unknown != nil:
		return fmt.Errorf("guard: the rules were not taken, and what was to hold before is not known (%w): %w", unknown, err)
	case err != nil:
		return errors.Join(fmt.Errorf("guard: the rules were not taken, and nothing was changed: %w", err), putBack(g.file, before))
	}
	found, err := g.list(ctx)
	if err == nil {
		err = found.whole(r.Uplinks)
	}
	if err != nil {
		return &KeptError{fmt.Errorf("guard: the rules were loaded, but cannot be read back: %w", err)}
	}
	should.Digest = found.digest
	if err := writeFile(g.file, should); err != nil {
		return &KeptError{fmt.Errorf("guard: the rules hold, but that could not be noted: %w", err)}
	}
	return nil
}

// KeptError says that the guard is armed, but that something about it is wrong.
type KeptError struct{ err error }

func (e *KeptError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *KeptError) Unwrap() error { return e.err }

// Off disarms the guard: both tables and the file are gone. Where it is off already it does nothing.
func (g *Guard) Off(ctx context.Context) error {
	there, err := tables()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	// The file goes first, so that a running proxy does not arm again what is taken away.
	if err := removeFile(g.file); err != nil {
		return fmt.Errorf("guard: nothing was changed: %w", err)
	}
	if len(there) == 0 {
		return nil
	}
	if err := g.load(ctx, removal); err != nil {
		return fmt.Errorf("guard: the tables are still there, and what they refuse is refused: %w", err)
	}
	return nil
}

// Look finds what is so. An error is never "off": it says what could not be known. With [ErrRights] the state is what the file says.
func (g *Guard) Look(ctx context.Context) (State, error) {
	state, _, err := g.look(ctx)
	return state, err
}

func (g *Guard) look(ctx context.Context) (State, *kept, error) {
	should, err := readFile(g.file)
	if err != nil {
		return State{}, nil, fmt.Errorf("guard: %w", err)
	}
	var s State
	if should != nil {
		s = State{Armed: true, Since: should.Since, Mark: should.Mark, Allow: should.Allow}
	}
	found, err := g.list(ctx)
	if err != nil {
		return s, should, fmt.Errorf("guard: %w", err)
	}
	s.Counters, s.Uplinks = found.counters, found.uplinks
	switch {
	case should == nil && found.none():
		return s, nil, nil
	case should == nil:
		s.Why = "there are tables watertight_guard, and " + g.file + ", which says what should be in them, is gone"
		return s, nil, nil
	}
	up, err := Uplinks()
	if err != nil {
		return s, should, fmt.Errorf("guard: %w", err)
	}
	switch lacks := found.lacks(); {
	case lacks != "":
		s.Why = lacks
	case found.digest != should.Digest && !g.loaded.is(should, found.digest):
		s.Why = "the tables watertight_guard hold other rules than were loaded"
	default:
		if err := found.covers(up); err != nil {
			s.Why = err.Error()
		}
	}
	s.Held = s.Why == ""
	return s, should, nil
}

// Restore loads what the file says, with the devices and the connections of now, where the kernel has it not. Where the guard is off
// it does nothing. An error beside restored says that the rules hold, but that it could not be noted which.
func (g *Guard) Restore(ctx context.Context) (restored bool, err error) {
	s, should, err := g.look(ctx)
	if err != nil || !s.Armed || s.Held {
		return false, err
	}
	r := Rules{Mark: should.Mark, Allow: should.Allow}
	if r.Uplinks, err = Uplinks(); err == nil {
		r.Kept, err = Inbound()
	}
	if err == nil {
		err = r.Check()
	}
	if err == nil {
		err = g.load(ctx, r.text(s.Counters))
	}
	if err != nil {
		return false, fmt.Errorf("guard: it does not hold (%s), and could not be armed again: %w", s.Why, err)
	}
	found, err := g.list(ctx)
	if err == nil {
		err = found.whole(r.Uplinks)
	}
	if err != nil {
		return false, fmt.Errorf("guard: it was armed again, but cannot be read back: %w", err)
	}
	now, err := readFile(g.file)
	if err == nil && now == nil { // it was turned off meanwhile
		return false, g.load(ctx, removal)
	}
	if err != nil || now.Digest == found.digest || !now.same(should) {
		return err == nil, err
	}
	g.loaded.note(should, found.digest)
	should.Digest = found.digest
	if err := writeFile(g.file, *should); err != nil {
		return true, fmt.Errorf("guard: it was armed again, with rules that `watertight guard status` takes for others: %w", err)
	}
	return true, nil
}
