// Package credential is the user and password of an upstream proxy, written as a template: providers of exits read from them
// the country, the session and how long it lasts.
//
// It promises that what it fills in is what the provider's grammar takes, or an error that says why not; that a part whose
// label is not known is left out whole; that no label is dropped in silence; and that two identities never come out as one
// session. It prints no credential, and none stands in an error.
package credential

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strings"

	"watertight/client"
)

// MaxTemplate bounds the text of a user or a password, in octets.
const MaxTemplate = 1024

// maxDepth bounds groups in each other.
const maxDepth = 4

// Places of a template. User and Pass of a provider's are those of the account; elsewhere User is that of the client, and
// there is no Pass: a client's password is never passed on.
const (
	User    = "user"
	Pass    = "pass"
	Country = "country"
	State   = "state"
	City    = "city"
	Session = "session"
	TTL     = "ttl"
)

// places are all of them.
var places = []string{User, Pass, Country, State, City, Session, TTL}

// Errors that [Parse], [ForAccount] and Fill wrap. They show nothing of what was read.
var (
	ErrTemplate = errors.New("not a valid template")
	ErrProvider = errors.New("no such template")
	ErrFill     = errors.New("the template of the upstream proxy cannot be filled in")
)

// Template is a user and a password with places in them. The zero Template is none. It is comparable, and prints as the name
// of its provider or as a mask, whatever verb prints it.
type Template struct {
	provider         string // whose grammar it is; empty for one that was written out
	account          bool   // user and password are those of the account, for the provider's template
	user, password   string // as they were written
	decode, template bool   // they are in percent form; it is not the zero Template
}

// IsTemplate says whether a user or a password, as it stands in a URL, has places: words in braces. A brace by itself is none.
func IsTemplate(text string) bool { return word.MatchString(text) }

var word = regexp.MustCompile(`\{[A-Za-z_]+\}`)

// Parse reads a user and a password as they stand in a URL: `{user}`, `{country}`, `{state}`, `{city}`, `{session}` and `{ttl}`
// are places, `[` and `]` enclose what is left out where a place in it is not known. All else is taken as it is, in percent
// form: these four characters are written %7B, %7D, %5B and %5D.
func Parse(user, password string) (Template, error) {
	t := Template{user: user, password: password, decode: true, template: true}
	found := map[string]bool{}
	for _, part := range []struct{ what, text string }{{"user", user}, {"password", password}} {
		tree, err := parse(part.text, true)
		if err != nil {
			return Template{}, fmt.Errorf("%w: the %s: %w", ErrTemplate, part.what, err)
		}
		tree.each(func(place string, _ bool) { found[place] = true })
	}
	switch {
	case found[Pass]:
		return Template{}, fmt.Errorf("%w: {pass} stands in the template of a provider only: write the password, or a reference to it", ErrTemplate)
	case len(found) == 0:
		return Template{}, fmt.Errorf("%w: it has no place; write a brace as %%7B or %%7D", ErrTemplate)
	}
	return t, nil
}

// ForAccount gives a provider's template for an account. The user and the password are as the provider gave them out.
func ForAccount(provider, user, password string) (Template, error) {
	p, ok := providers[provider]
	if !ok {
		return Template{}, fmt.Errorf("%w: write one of %s", ErrProvider, strings.Join(Providers(), ", "))
	}
	t := Template{provider: provider, account: true, user: user, password: password, template: true}
	needs := func(place string) bool { return strings.Contains(p.user+p.password, "{"+place+"}") }
	switch {
	case needs(Pass) && password == "":
		return Template{}, fmt.Errorf("%w: %s needs the password of the account", ErrTemplate, provider)
	case needs(User) && user == "":
		return Template{}, fmt.Errorf("%w: %s needs the user of the account", ErrTemplate, provider)
	case !needs(User) && user != "" && user != p.ignoredUser:
		return Template{}, fmt.Errorf("%w: %s has no user: write `%s` in its place", ErrTemplate, provider, p.ignoredUser)
	case strings.ContainsFunc(user+password, control):
		return Template{}, fmt.Errorf("%w: a control character", ErrTemplate)
	}
	for _, mark := range p.marks {
		if strings.Contains(user, mark) || p.password != "{pass}" && strings.Contains(password, mark) {
			return Template{}, fmt.Errorf("%w: `%s` is what the template of %s writes by itself: give the bare user and password of the account", ErrTemplate, mark, provider)
		}
	}
	return t, nil
}

// IsZero says that it is no template.
func (t Template) IsZero() bool { return !t.template }

// Provider is the name of the provider whose template it is; empty for one that was written out.
func (t Template) Provider() string { return t.provider }

// Written gives user and password as they were written, for the proxy that is shown without them.
func (t Template) Written() (user, password string) { return t.user, t.password }

// grammar is what the values have to be, and the texts that they are put into.
func (t Template) grammar() (g provider, user, password string) {
	if t.account {
		g = providers[t.provider]
		return g, g.user, g.password
	}
	return plain, t.user, t.password
}

// Has says whether a place stands in the template.
func (t Template) Has(place string) bool {
	_, user, password := t.grammar()
	return t.template && strings.Contains(user+password, "{"+place+"}")
}

// Filled is what comes out of a template.
type Filled struct{ User, Password string }

// Fill puts an identity into the template. seed is a secret of the channel from which a session is made where none is asked
// for and the template needs one. The error wraps [ErrFill] and shows no value.
func (t Template) Fill(id client.Identity, seed []byte) (Filled, error) {
	g, user, password := t.grammar()
	f := filling{t: t, g: g, id: id, seed: seed, used: map[string]bool{}}
	var out Filled
	for _, part := range []struct {
		text string
		into *string
	}{{user, &out.User}, {password, &out.Password}} {
		tree, err := parse(part.text, t.decode)
		if err == nil {
			*part.into, err = f.fill(tree)
		}
		if err != nil {
			return Filled{}, fmt.Errorf("%w: %w", ErrFill, err)
		}
	}
	// A part may have been left out with a label in it that is known.
	for place, value := range map[string]string{Country: id.Country, State: id.State, City: id.City, TTL: id.TTL, Session: id.Session} {
		if value != "" && t.Has(place) && !f.used[place] {
			return Filled{}, fmt.Errorf("%w: `%s` is of no use without the other labels that stand beside it", ErrFill, place)
		}
	}
	return out, nil
}

// filling is a template as it is filled in.
type filling struct {
	t    Template
	g    provider
	id   client.Identity
	seed []byte
	used map[string]bool
}

func (f *filling) fill(tree group) (string, error) {
	var b strings.Builder
	for _, n := range tree {
		switch {
		case n.place != "":
			v, err := f.value(n.place)
			if err != nil {
				return "", err
			}
			f.used[n.place] = true
			b.WriteString(v)
		case n.group == nil:
			b.WriteString(n.text)
		case f.known(n.group):
			inner, err := f.fill(n.group)
			if err != nil {
				return "", err
			}
			b.WriteString(inner)
		}
	}
	return b.String(), nil
}

// known says whether every place right inside a group is.
func (f *filling) known(g group) bool {
	for _, n := range g {
		if n.place != "" && f.raw(n.place) == "" {
			return false
		}
	}
	return true
}

// raw gives what there is for a place, as it came.
func (f *filling) raw(place string) string {
	switch place {
	case User:
		if f.t.account {
			return f.t.user
		}
		return f.id.User
	case Pass:
		return f.t.password
	case Country:
		return f.id.Country
	case State:
		return f.id.State
	case City:
		return f.id.City
	case Session:
		return f.id.Session
	case TTL:
		return f.id.TTL
	}
	return ""
}

// value gives what is put in a place.
func (f *filling) value(place string) (string, error) {
	raw := f.raw(place)
	switch {
	case place == Session:
		return f.session(raw), nil
	case place == User && !f.t.account && f.id.Trial != "":
		return "", errors.New("a test of this program does not come as one of its users to others")
	case raw == "" && place == User:
		return "", errors.New("it needs the client's user, and the client has no name")
	case raw == "":
		return "", fmt.Errorf("it needs a `%s`: in the client's user name, or in the route", place)
	case place == Country:
		return f.g.countryOf(raw)
	case place == State, place == City:
		return placeName(place, raw)
	case place == TTL && !f.t.account:
		_, err := Lifetime(raw)
		return raw, err
	case place == TTL:
		return f.g.lifetime(raw)
	}
	return raw, nil
}

// group is a part of a template.
type group []piece

// piece is a text, a place, or a group that may be left out.
type piece struct {
	text, place string
	group       group
}

// each calls do for every place, and says whether it may be left out.
func (g group) each(do func(place string, optional bool)) { g.walk(do, false) }

func (g group) walk(do func(string, bool), optional bool) {
	for _, n := range g {
		if n.place != "" {
			do(n.place, optional)
		}
		n.group.walk(do, true)
	}
}

// parse reads a template, and undoes the percent form of what is no place.
func parse(text string, decode bool) (group, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("%d octets, and at most %d are read", len(text), MaxTemplate)
	}
	g, rest, err := parseGroup(text, decode, 0)
	if err == nil && rest != "" {
		return nil, errors.New("`]` closes nothing; write %5D for the character")
	}
	return g, err
}

func parseGroup(text string, decode bool, depth int) (g group, rest string, err error) {
	if depth > maxDepth {
		return nil, "", fmt.Errorf("groups stand more than %d deep in each other", maxDepth)
	}
	for text != "" && text[0] != ']' {
		var n piece
		switch text[0] {
		case '[':
			if n.group, text, err = parseGroup(text[1:], decode, depth+1); err != nil {
				return nil, "", err
			}
			if text == "" {
				return nil, "", errors.New("`[` is not closed; write %5B for the character")
			}
			text = text[1:]
			if !n.group.hasPlace() {
				return nil, "", errors.New("there is no place in `[…]`, so that it would never be left out")
			}
		case '{':
			name, after, closed := strings.Cut(text[1:], "}")
			if !closed {
				return nil, "", errors.New("`{` is not closed; write %7B for the character")
			}
			if !isPlace(name) {
				return nil, "", errors.New("an unknown place: write one of {user}, {country}, {state}, {city}, {session} and {ttl}, and %7B for a brace that is meant")
			}
			n.place, text = name, after
		case '}':
			return nil, "", errors.New("`}` closes nothing; write %7D for the character")
		default:
			end := strings.IndexAny(text, "[]{}")
			if end < 0 {
				end = len(text)
			}
			if n.text, err = literal(text[:end], decode); err != nil {
				return nil, "", err
			}
			text = text[end:]
		}
		g = append(g, n)
	}
	return g, text, nil
}

func (g group) hasPlace() bool {
	for _, n := range g {
		if n.place != "" {
			return true
		}
	}
	return false
}

func isPlace(name string) bool {
	for _, p := range places {
		if p == name {
			return true
		}
	}
	return false
}

func literal(text string, decode bool) (string, error) {
	if decode {
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return "", errors.New("a percent sign is not followed by two hexadecimal digits; write it as %25")
		}
	}
	if strings.ContainsFunc(text, control) {
		return "", errors.New("a control character")
	}
	return text, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// String gives the provider's name, or a mask.
func (t Template) String() string {
	switch {
	case t.IsZero():
		return ""
	case t.provider != "":
		return "template " + t.provider
	}
	return "***"
}

// Format prints String for every verb: %#v and %d would show the password.
func (t Template) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue gives String.
func (t Template) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText gives String, so that no encoder sees the password.
func (t Template) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
