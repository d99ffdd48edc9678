package route

import (
	"fmt"
	"strings"

	"watertight/client"
)

// UserPattern says which users a rule is for: `alice`, `team-*`, or `*` for everyone with a name. A client without a name
// is none of them.
type UserPattern struct {
	text   string
	prefix bool // text stands for what begins with it
}

// ParseUser reads a pattern of users.
func ParseUser(s string) (UserPattern, error) {
	p := UserPattern{text: s}
	p.text, p.prefix = strings.CutSuffix(s, "*")
	id, err := client.Parse(p.text)
	if err != nil || !p.prefix && (id.User == "" || id.User != p.text) {
		return UserPattern{}, fmt.Errorf("%w: %q is not a user, nor the beginning of some with a star behind it", ErrPattern, s)
	}
	return p, nil
}

// Match says whether a user is meant.
func (p UserPattern) Match(user string) bool {
	if p.prefix {
		return user != "" && strings.HasPrefix(user, p.text)
	}
	return user != "" && user == p.text
}

// Covers says that every user of q is one of p.
func (p UserPattern) Covers(q UserPattern) bool {
	if p.prefix {
		return strings.HasPrefix(q.text, p.text)
	}
	return !q.prefix && p == q
}

// String gives the pattern as it was written.
func (p UserPattern) String() string {
	if p.prefix {
		return p.text + "*"
	}
	return p.text
}

// isFor says whether the rule is for a user; one without patterns is for everyone.
func (r *Rule) isFor(user string) bool {
	for _, p := range r.Users {
		if p.Match(user) {
			return true
		}
	}
	return len(r.Users) == 0
}
