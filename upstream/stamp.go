package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"watertight/stamp"
)

// stamped are the kinds that a stamp can lead to.
var stamped = map[stamp.Kind]Kind{stamp.DoH: DoH, stamp.DoT: DoT, stamp.DoQ: DoQ}

// parseStamp reads a DNS stamp. The resolvers in clear that it may offer for looking its host up are never asked: a
// stamp without an address needs `addresses`, as a name does.
func parseStamp(text string) (endpoint, error) {
	s, err := stamp.Parse(text)
	if err != nil {
		return endpoint{}, errors.New(err.Error()) // one error, and not the two that it wraps
	}
	kind, ok := stamped[s.Kind]
	switch {
	case ok:
	case s.Kind == stamp.Plain:
		return endpoint{}, fmt.Errorf("the stamp is of plain DNS at %v, %w; write tls://%v", s.Addr, ErrPlain, s.Addr.Addr())
	case s.Kind.IsRelay():
		return endpoint{}, fmt.Errorf("the stamp is of a relay (%v), which answers nothing itself; write the stamp of a resolver", s.Kind)
	default:
		return endpoint{}, fmt.Errorf("stamps of %v are not carried yet by this version; write https:// or tls://", s.Kind)
	}
	if len(s.Hashes) > maxPins {
		return endpoint{}, errors.New("the stamp has too many hashes")
	}
	e := endpoint{kind: kind, host: s.Host.Host(), port: s.Host.Port(), path: s.Path, stamp: true, hashes: slices.Clone(s.Hashes)}
	if e.port == 53 {
		return endpoint{}, errPort53
	}
	host, named := e.host.Name()
	literal, _ := e.host.Addr()
	switch {
	case s.Addr.IsValid():
		e.known, e.placed = []netip.Addr{s.Addr.Addr()}, true
	case named:
		e.known = slices.Clone(presetAddrs(host))
	default:
		e.known, e.placed = []netip.Addr{literal}, true
	}
	return e, nil
}
