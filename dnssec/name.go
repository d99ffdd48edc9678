package dnssec

import (
	"strings"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// name is a domain name in the form in which DNSSEC compares and hashes it: uncompressed wire format with the letters
// A to Z in lower case (RFC 4034, section 6.2). Every label begins with its length; the root is one zero octet. No
// length is a letter, so that the whole string can be put into lower case.
type name string

const root name = "\x00"

// parseName reads a name in presentation form, with or without the final dot.
func parseName(s string) (name, bool) {
	if s == "" {
		return root, true
	}
	var buf [256]byte
	n, err := dns.PackDomainName(dns.Fqdn(s), buf[:], 0, nil, false)
	if err != nil || n > 255 {
		return "", false
	}
	b := buf[:n]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return name(b), true
}

// fqdn gives the name as the message library writes it: with a final dot.
func (n name) fqdn() string {
	s, _, err := dns.UnpackDomainName([]byte(n), 0)
	if err != nil {
		return "." // cannot be: every name was packed by parseName
	}
	return s
}

// text gives the name for people.
func (n name) text() string {
	if n == root {
		return "the root"
	}
	return strings.TrimSuffix(n.fqdn(), ".")
}

// question gives the question for records of a type at the name.
func (n name) question(t dnswire.Type) dnswire.Question {
	return dnswire.Question{Name: dnswire.CanonicalName(n.fqdn()), Type: t}
}

// parent gives the name one label up; the root is its own parent.
func (n name) parent() name {
	if n == root {
		return root
	}
	return n[1+int(n[0]):]
}

// labels counts the labels, without the root's.
func (n name) labels() int {
	count := 0
	for ; n != root; n = n.parent() {
		count++
	}
	return count
}

// last gives the name made of the last count labels, or n itself where it has no more.
func (n name) last(count int) name {
	for over := n.labels() - count; over > 0; over-- {
		n = n.parent()
	}
	return n
}

// under says whether n is zone or a name below it.
func (n name) under(zone name) bool {
	if !strings.HasSuffix(string(n), string(zone)) {
		return false
	}
	return n.last(zone.labels()) == zone // the suffix begins where a label does
}

// below says whether n is a name below zone and not zone itself.
func (n name) below(zone name) bool { return n != zone && n.under(zone) }

// isWildcard says whether the first label is an asterisk (RFC 4592, section 2.1.1).
func (n name) isWildcard() bool { return strings.HasPrefix(string(n), "\x01*") }

// wildcard gives the name of the wildcard just below n. It may be too long to exist; then nothing matches it.
func (n name) wildcard() name { return "\x01*" + n }

// signed counts the labels as the Labels field of an RRSIG does: an asterisk in front does not count (RFC 4034,
// section 3.1.3).
func (n name) signed() int {
	if n.isWildcard() {
		return n.labels() - 1
	}
	return n.labels()
}

// common gives the longest name that a and b are both under.
func common(a, b name) name {
	for !b.under(a) {
		a = a.parent()
	}
	return a
}

// compare puts names into the canonical order (RFC 4034, section 6.1): label by label from the right, as octets.
func compare(a, b name) int {
	la, lb := a.split(), b.split()
	for i := 1; i <= len(la) && i <= len(lb); i++ {
		if c := strings.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

func (n name) split() []string {
	var list []string
	for ; n != root; n = n.parent() {
		list = append(list, string(n[1:1+int(n[0])]))
	}
	return list
}
