// Package client is who a request is for: the user, and what the user's name asks of the way out.
//
// It promises that an [Identity] which exists is well formed and comparable, so that channels, caches and limits never
// disagree about whether two requests are for the same one. It proves nothing about who the client is: that is for the
// doors. An identity holds no secret, but it is a name, and is not logged unless the configuration asks for it.
package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Limits in octets.
const (
	MaxUsername = 255 // of SOCKS 5 (RFC 1929)
	MaxUser     = 64
	MaxValue    = 64 // of one label
)

// Identity is a user and the labels that the name gave it. The zero Identity is a client without a name. Two requests with
// one identity may be linked; two with different ones share no cache, no TLS session and no connection to a resolver.
type Identity struct {
	User    string // empty for a client without a name
	Session string // requests of one session leave by one exit
	Country string // lower case
	State   string
	City    string
	TTL     string // how long the session lasts, as written: a number with or without a unit
	// Trial is a word of chance of a test of this program, which has the routes of the user and nothing that is his: empty for
	// every client. No name has it.
	Trial string
}

// Counted is the user against whose limits and shares a request counts; empty for a client without a name, and for a test.
func (i Identity) Counted() string {
	if i.Trial != "" {
		return ""
	}
	return i.User
}

// Errors that Parse wraps. They show nothing of the name.
var (
	ErrUsername = errors.New("not a valid user name")
	ErrLabel    = errors.New("not a valid label in the user name")
)

// labels are what may follow the user in a name, each as `-key-value`.
var labels = map[string]func(*Identity) *string{
	"session": func(i *Identity) *string { return &i.Session },
	"country": func(i *Identity) *string { return &i.Country },
	"state":   func(i *Identity) *string { return &i.State },
	"city":    func(i *Identity) *string { return &i.City },
	"ttl":     func(i *Identity) *string { return &i.TTL },
}

// Parse reads `USER[-session-ID][-country-CC][-state-NAME][-city-NAME][-ttl-TIME]`, the labels in any order and each once.
// A user may have hyphens: the labels begin at the first word that is a key and has a value after it. All octets are of
// `A-Z a-z 0-9 . _ ~ -`, because clients differ in how they escape others; a value has no hyphen.
func Parse(username string) (Identity, error) {
	var i Identity
	switch {
	case username == "":
		return i, nil
	case len(username) > MaxUsername:
		return i, fmt.Errorf("%w: %d octets, and at most %d fit (RFC 1929)", ErrUsername, len(username), MaxUsername)
	case strings.ContainsFunc(username, func(r rune) bool { return !allowed(r) }):
		return i, fmt.Errorf("%w: write letters, digits and . _ ~ - alone", ErrUsername)
	}
	words := strings.Split(username, "-")
	at := 0
	for at < len(words) && (labels[words[at]] == nil || at == 0 || at+1 == len(words)) {
		at++
	}
	i.User = strings.Join(words[:at], "-")
	if len(i.User) > MaxUser {
		return Identity{}, fmt.Errorf("%w: the user has %d octets, and at most %d are taken", ErrUsername, len(i.User), MaxUser)
	}
	for ; at < len(words); at += 2 {
		field := labels[words[at]]
		if field == nil {
			return Identity{}, fmt.Errorf("%w: write -session-ID, -country-CC, -state-NAME, -city-NAME or -ttl-TIME, and no hyphen in a value", ErrLabel)
		}
		key := words[at]
		if at+1 == len(words) || words[at+1] == "" {
			return Identity{}, fmt.Errorf("%w: %s has no value", ErrLabel, key)
		}
		if *field(&i) != "" {
			return Identity{}, fmt.Errorf("%w: %s stands there twice", ErrLabel, key)
		}
		if len(words[at+1]) > MaxValue {
			return Identity{}, fmt.Errorf("%w: %s has %d octets, and at most %d are taken", ErrLabel, key, len(words[at+1]), MaxValue)
		}
		*field(&i) = words[at+1]
	}
	i.Country = strings.ToLower(i.Country)
	return i, nil
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_~", r)
}

// IsZero says that the client has no name.
func (i Identity) IsZero() bool { return i == Identity{} }

// String gives the name that Parse reads as i.
func (i Identity) String() string {
	var b strings.Builder
	b.WriteString(i.User)
	for _, key := range [...]string{"session", "country", "state", "city", "ttl"} {
		if v := *labels[key](&i); v != "" {
			b.WriteString("-" + key + "-" + v)
		}
	}
	return b.String()
}

// LogValue hides the name: a log that may show it asks for String.
func (i Identity) LogValue() slog.Value {
	if i.IsZero() {
		return slog.StringValue("")
	}
	return slog.StringValue("(hidden)")
}
