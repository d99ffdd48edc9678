package credential

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// provider is one that sells exits, and how it wants to be asked, by its own documentation as of November 2026.
type provider struct {
	user, password string   // templates; no percent form
	marks          []string // what the template writes: it does not belong into the account's own user or password
	ignoredUser    string   // to be written where the provider has no user

	upper    bool // the country is written in upper case
	alphabet string
	min, max int // octets of a session

	unit     time.Duration // of a lifetime that is a bare number; 0: it is a number with one letter for its unit
	shortest time.Duration
	longest  time.Duration
}

// Alphabets of sessions.
const (
	lower    = "abcdefghijklmnopqrstuvwxyz0123456789"
	mixed    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + lower
	withLine = mixed + "_"
	named    = mixed + "._~" // what a client may write
)

// plain is the grammar of a template that was written out: what a client may write is passed on.
var plain = provider{alphabet: named, min: 1, max: 64}

// providers are the ready-made templates.
var providers = map[string]provider{
	"brightdata": {
		user:  "{user}[-country-{country}][-state-{state}][-city-{city}][-session-{session}]",
		marks: []string{"-country-", "-state-", "-city-", "-session-"}, password: "{pass}",
		alphabet: mixed, min: 1, max: 64,
	},
	"geonode": {
		user:  "{user}[-country-{country}][-state-{state}][-city-{city}][-session-{session}[-lifetime-{ttl}]]",
		marks: []string{"-country-", "-state-", "-city-", "-session-", "-lifetime-"}, password: "{pass}",
		alphabet: withLine, min: 1, max: 25,
		unit: time.Minute, shortest: 3 * time.Minute, longest: 1440 * time.Minute,
	},
	"helodata": {
		user:  "helo_{user}[-region-{country}][-state-{state}][-city-{city}][-session-{session}[-sesstime-{ttl}]]",
		marks: []string{"helo_", "-region-", "-state-", "-city-", "-session-", "-sesstime-"}, password: "{pass}",
		alphabet: lower, min: 1, max: 32,
		unit: time.Minute, shortest: time.Minute, longest: 120 * time.Minute,
	},
	"iproyal": {
		user:     "{user}",
		password: "{pass}[_country-{country}][_state-{state}][_city-{city}][_session-{session}[_lifetime-{ttl}]]",
		marks:    []string{"_country-", "_state-", "_city-", "_session-", "_lifetime-"},
		alphabet: mixed, min: 8, max: 8,
		shortest: time.Second, longest: 7 * 24 * time.Hour,
	},
	"massive": {
		user:  "{user}[-country-{country}][-city-{city}][-session-{session}[-sessionttl-{ttl}]]",
		marks: []string{"-country-", "-city-", "-session-", "-sessionttl-"}, password: "{pass}", upper: true,
		alphabet: mixed, min: 1, max: 255,
		unit: time.Minute, shortest: time.Minute, longest: 240 * time.Minute,
	},
	"oxylabs": {
		user:  "customer-{user}[-cc-{country}[-city-{city}]][-st-{state}][-sessid-{session}[-sesstime-{ttl}]]",
		marks: []string{"customer-", "-cc-", "-st-", "-city-", "-sessid-", "-sesstime-"}, password: "{pass}", upper: true,
		alphabet: mixed, min: 1, max: 32,
		unit: time.Minute, shortest: time.Minute, longest: 30 * time.Minute,
	},
	"pingnetwork": {
		user:  "{user}[-cc-{country}][-session-{session}[-lifetime-{ttl}]]",
		marks: []string{"-cc-", "-session-", "-lifetime-"}, password: "{pass}", upper: true,
		alphabet: mixed, min: 6, max: 15,
		unit: time.Minute, shortest: time.Minute, longest: 120 * time.Minute,
	},
	"soax": {
		user:     "country-{country}[-session-{session}]",
		password: "{pass}", ignoredUser: "package", marks: []string{"country-", "-session-"},
		alphabet: mixed, min: 1, max: 32,
	},
	"thordata": {
		user:  "td-customer-{user}[-country-{country}][-state-{state}][-city-{city}][-sessid-{session}[-sesstime-{ttl}]]",
		marks: []string{"td-customer-", "-country-", "-state-", "-city-", "-sessid-", "-sesstime-"}, password: "{pass}",
		alphabet: mixed, min: 1, max: 32,
		unit: time.Minute, shortest: time.Minute, longest: 90 * time.Minute,
	},
}

// Providers gives the names of all ready-made templates.
func Providers() []string { return slices.Sorted(maps.Keys(providers)) }

// countryOf gives a country as it is written there: two letters (ISO 3166-1 alpha-2).
func (p provider) countryOf(code string) (string, error) {
	if len(code) != 2 || strings.Trim(strings.ToLower(code), "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", errors.New("a country is two letters, such as de")
	}
	if p.upper {
		return strings.ToUpper(code), nil
	}
	return strings.ToLower(code), nil
}

// placeName gives a state or a city: letters, digits and underscores.
func placeName(place, text string) (string, error) {
	if strings.Trim(text, withLine) != "" || strings.ContainsAny(text, ".~-") {
		return "", fmt.Errorf("a %s is letters, digits and underscores, such as new_york", place)
	}
	return text, nil
}

// maxLifetime bounds what a session may ask for.
const maxLifetime = 31 * 24 * time.Hour

// units of a lifetime.
var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}

// Lifetime reads how long a session lasts: a number of minutes, or a number with s, m, h or d after it.
func Lifetime(text string) (time.Duration, error) {
	digits, unit := text, time.Minute
	if n := len(text); n > 0 && units[text[n-1]] != 0 {
		digits, unit = text[:n-1], units[text[n-1]]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || digits[0] == '+' || time.Duration(n) > maxLifetime/unit {
		return 0, errors.New("a time is a number of minutes, or a number with s, m, h or d after it, such as 10m, and at most 31 days")
	}
	return time.Duration(n) * unit, nil
}

// lifetime gives how long a session lasts as it is written there.
func (p provider) lifetime(text string) (string, error) {
	d, err := Lifetime(text)
	switch {
	case err != nil:
		return "", err
	case d < p.shortest || d > p.longest:
		return "", fmt.Errorf("a session lasts from %v to %v there", p.shortest, p.longest)
	case p.unit == 0:
		for _, letter := range []byte("dhms") {
			if d%units[letter] == 0 {
				return strconv.Itoa(int(d/units[letter])) + string(letter), nil
			}
		}
	case d%p.unit != 0:
		return "", fmt.Errorf("a session lasts whole units of %v there", p.unit)
	}
	return strconv.Itoa(int(d / max(p.unit, 1))), nil
}
