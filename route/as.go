package route

import (
	"net/netip"

	"watertight/client"
	"watertight/name"
)

// LeadsAs gives the name of the channel that the rules give a host for an identity. The error is a [*fault.Error]: they refuse it, or
// the channel could not be used for the identity, whatever is asked for.
func (t *Table) LeadsAs(h name.Host, id client.Identity) (string, error) {
	r, err := t.rule(h, id.User)
	if err != nil {
		return "", err
	}
	if id, err = r.Labels.of(id, true); err != nil {
		return "", err
	}
	if id.IsZero() {
		return r.Channel.Name(), nil
	}
	return r.Channel.Name(), r.Channel.For(id, netip.Addr{}).Check()
}

// Example gives a user whom the pattern means: the one that it is, or one that begins as it says and goes on with a word.
func (p UserPattern) Example(word string) string {
	if !p.prefix {
		return p.text
	}
	return p.text + word
}
