package config

import (
	"fmt"
	"slices"
)

// ReadGuard reads what the guard of the host goes by, of the file that [Find] gave: `guard`, and the mark of `listen.transparent`.
// Nothing else is read: before the network is there, secrets and certificates that the rest of the file names need not be there
// either, and the guard is to be armed all the same. The error is [Problems]. Where there is no `guard`, Guard is nil.
func ReadGuard(path string, host Host) (*Config, error) {
	if err := host.validate(); err != nil {
		return nil, err
	}
	l, c := newLoader(path, host), &Config{File: path}
	if path == "" {
		return c, nil
	}
	data, err := host.ReadFile(path, MaxFile)
	if err != nil {
		return nil, Problems{{File: path, What: "the configuration cannot be read: " + reason(err), Mend: mendRead(err)}}
	}
	if len(data) > MaxFile {
		return nil, Problems{{File: path, What: fmt.Sprintf("the configuration has more than %d octets", MaxFile), Mend: mendRead(errTooLarge)}}
	}
	root := l.parseTree(data)
	if root == nil {
		return nil, l.problems.err()
	}
	keep(root, "guard", "listen")
	for _, p := range root.pairs {
		if p.key.text == "listen" {
			keep(p.value, "transparent")
		}
	}
	l.read(root, c)
	l.checkGuard(c)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// keep leaves a map these keys alone.
func keep(n *node, keys ...string) {
	n.pairs = slices.DeleteFunc(n.pairs, func(p pair) bool { return !slices.Contains(keys, p.key.text) })
}
