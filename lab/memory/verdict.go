package memory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Allowed is what may happen. Everything else is a leak.
type Allowed struct {
	// Dials are the addresses that each party may dial.
	Dials map[string][]netip.AddrPort
	// Secrets are the labels that nobody may read on the way, each with the parties that may learn a name with it.
	Secrets map[string][]string
	// Clear are the links, written PARTY > ADDRESS, on which a secret may stand in clear text: a proxy that was given
	// the word to resolve names.
	Clear map[string][]string
}

// Leaks compares what happened since the internet was made with what may happen, and says each leak in a sentence.
func (in *Internet) Leaks(a Allowed) []string {
	in.mu.Lock()
	links := slices.Clone(in.links)
	in.mu.Unlock()
	var leaks []string
	say := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(leaks, s) {
			leaks = append(leaks, s)
		}
	}
	for _, l := range links {
		if !slices.Contains(a.Dials[l.from], l.to) {
			say("outside the channel: %v was dialled", l)
		}
		if l.unseen() {
			say("unseen: more went over %v than is kept", l)
		}
		for secret := range a.Secrets {
			if form := l.reads(secret); form != "" && !slices.Contains(a.Clear[secret], l.String()) {
				say("in clear: %s can be read on %v as %s", secret, l, form)
			}
		}
	}
	for _, f := range in.facts() {
		for secret, may := range a.Secrets {
			if strings.Contains(strings.ToLower(f.name), secret) && !slices.Contains(may, f.party) {
				say("to the wrong resolver: %s learned %s", f.party, f.name)
			}
		}
		if strings.EqualFold(f.name, BoundName) {
			say("a name in a reply: %s was asked for %s", f.party, f.name)
		}
	}
	slices.Sort(leaks)
	return leaks
}

// Readable gives the links, written PARTY > ADDRESS, on which a text could be read so far.
func (in *Internet) Readable(text string) []string {
	in.mu.Lock()
	links := slices.Clone(in.links)
	in.mu.Unlock()
	var on []string
	for _, l := range links {
		if l.reads(text) != "" && !slices.Contains(on, l.String()) {
			on = append(on, l.String())
		}
	}
	return on
}

// Dialled gives every link there was so far, written PARTY > ADDRESS.
func (in *Internet) Dialled() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var all []string
	for _, l := range in.links {
		all = append(all, l.String())
	}
	return all
}
