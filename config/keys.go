package config

import (
	"slices"
	"strconv"
	"strings"
)

// form is what may stand as the value of a key.
type form int

const (
	formMap    form = iota // a map with the keys below it in the table
	formNames              // a map whose keys the user chooses
	formText               // a string, in which references to secrets are filled in
	formBool               // true or false
	formInt                // a whole number from Min to Max
	formPeriod             // a duration such as 30s, from Min to Max seconds
	formChoice             // one of Choices
)

// Key describes one key of the file. The loader, the schema and the test of the reference read the same table.
type Key struct {
	// Path is the way from the root, joined by dots; a star stands for a name that the user chooses.
	Path string
	Doc  string // one sentence
	// Default is the value, as YAML, that stands for the key when it is not written; empty where nothing does.
	Default string

	form    form
	list    bool // a list of it may stand there too
	orMap   bool // a map with the keys below may stand there too
	orText  bool // a choice may be a list of other texts instead
	choices []string
	min     int64
	max     int64
}

// Keys are all keys of this version, each after the one it stands in.
var Keys = slices.Concat(listenKeys, channelKeys, otherKeys)

// stickyWords are what may stick to a member of a pool.
var stickyWords = []string{"user", "session", "client", "target"}

// later are keys that users may know from the documentation of a later version, with what to do without them.
// None is read here, and none is passed over in silence.
var later = map[string]string{
	"listen.dns.users": "remove the key, and tell clients by their certificates: `client_ca` in `tls`",
}

// renamed are keys of earlier versions, with their successors and what is to be known about them.
var renamed = map[string]struct{ to, mend string }{
	"channels.*.resolver.cache.entries": {"size", "write `size` in MiB of memory; one takes about 2000 answers, and the default is " + strconv.Itoa(DefaultCacheSize)},
}

// keyAt gives the table's row for a path in the table's form.
func keyAt(path string) *Key {
	i := slices.IndexFunc(Keys, func(k Key) bool { return k.Path == path })
	if i < 0 {
		return nil
	}
	return &Keys[i]
}

// below gives the last parts of the keys right below path; "" is the root.
func below(path string) []string {
	var names []string
	for _, k := range Keys {
		parent, last := "", k.Path
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			parent, last = k.Path[:i], k.Path[i+1:]
		}
		if parent == path && last != "*" {
			names = append(names, last)
		}
	}
	return names
}

// elsewhere gives a key of that last part in another place of the file, if there is just one.
func elsewhere(last string) string {
	found := ""
	for _, k := range Keys {
		if strings.HasSuffix("."+k.Path, "."+last) {
			if found != "" {
				return ""
			}
			found = k.Path
		}
	}
	return strings.ReplaceAll(found, "*", "NAME")
}
