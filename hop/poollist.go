package hop

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"watertight/name"
)

// Limits of a list of proxies.
const (
	MaxList     = 8 << 20 // octets
	maxListLine = maxProxy
	maxListBad  = 20 // lines that are reported
)

// ListError is what is wrong with one line of a list. It shows nothing of the line.
type ListError struct {
	Line int // from 1; 0 for the whole list
	Err  error
}

func (e *ListError) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap gives what is wrong.
func (e *ListError) Unwrap() error { return e.Err }

// errNoScheme is for a line that does not say what the proxy speaks.
var errNoScheme = errors.New("it has no scheme: write socks5://HOST:PORT, or `scheme` beside `list` for all lines like this one")

// ParseList reads a list of proxies, one a line: URLs as [ParseProxy] reads them, HOST:PORT, or HOST:PORT:USER:PASSWORD, which
// is taken as it is, without percent form and places. scheme is what lines without one speak, empty for nothing; template is the
// provider by whose template user and password are written, empty for none. Empty lines and those that begin with # are passed
// over. It gives all of the list, or errors, each a [*ListError].
func ParseList(text []byte, scheme, template string) ([]Proxy, []error) {
	var list []Proxy
	var bad []error
	first := map[string]int{}
	fail := func(line int, err error) bool {
		bad = append(bad, &ListError{line, err})
		return len(bad) < maxListBad
	}
	if len(text) > MaxList {
		return nil, []error{&ListError{0, fmt.Errorf("%d octets, and at most %d are read", len(text), MaxList)}}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := parseLine(line, scheme, template)
		if err == nil {
			key := keyOf(p)
			if before, twice := first[key]; twice {
				err = fmt.Errorf("the same as line %d", before)
			}
			first[key] = n
		}
		if err != nil {
			if !fail(n, err) {
				break
			}
			continue
		}
		if list = append(list, p); len(list) > MaxMembers {
			fail(n, fmt.Errorf("more than %d proxies", MaxMembers))
			break
		}
	}
	if len(bad) == 0 && len(list) == 0 {
		fail(0, errors.New("there is no proxy in it"))
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return list, nil
}

func parseLine(line, scheme, template string) (p Proxy, err error) {
	switch {
	case len(line) > maxListLine:
		return p, fmt.Errorf("%d octets, and at most %d make sense", len(line), maxListLine)
	case !utf8.ValidString(line):
		return p, errors.New("not UTF-8 text")
	case strings.Contains(line, "://"):
		p, err = ParseProxy(line)
	case scheme == "":
		return p, errNoScheme
	default:
		p, err = parseBare(line, scheme)
	}
	if err == nil && template != "" {
		p, err = p.WithTemplate(template)
	}
	return p, err
}

// errBare is for a line of the short form that has not its parts.
var errBare = errors.New("write HOST:PORT, HOST:PORT:USER:PASSWORD or a URL; an IPv6 address stands in brackets")

// parseBare reads HOST:PORT or HOST:PORT:USER:PASSWORD.
func parseBare(line, scheme string) (Proxy, error) {
	host, rest := "", line
	if strings.HasPrefix(line, "[") {
		end := strings.IndexByte(line, ']')
		if end < 0 {
			return Proxy{}, errBare
		}
		host, rest = line[:end+1], strings.TrimPrefix(line[end+1:], ":")
		if rest == line[end+1:] {
			return Proxy{}, errBare
		}
	} else {
		var ok bool
		if host, rest, ok = strings.Cut(line, ":"); !ok {
			return Proxy{}, errBare
		}
	}
	port, credentials, has := strings.Cut(rest, ":")
	user, password, both := strings.Cut(credentials, ":")
	if _, err := name.ParsePort(port); err != nil || has && (!both || user == "") || strings.ContainsAny(host, "@/?# ") {
		return Proxy{}, errBare
	}
	p, err := ParseProxy(scheme + "://" + host + ":" + port)
	if err != nil {
		return Proxy{}, err
	}
	p.User, p.Password = user, password
	return p, p.validate()
}
