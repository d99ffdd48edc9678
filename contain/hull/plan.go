package hull

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Check says whether a plan can be read one way only. It looks at no file.
func (p Plan) Check() error {
	bad := func(mend, format string, args ...any) error {
		return &Error{Part: PartPlan, Reason: fmt.Sprintf(format, args...), Mend: mend}
	}
	switch {
	case !clean(p.Dir):
		return bad("", "the working directory %q is not a clean absolute path", p.Dir)
	case p.ResolvConf == "" || len(p.ResolvConf) > maxText || strings.ContainsRune(p.ResolvConf, 0):
		return bad("", "the text of /etc/resolv.conf is empty, or has more than %d octets", maxText)
	case len(p.Binds) > maxPaths || len(p.Sockets) > maxPaths:
		return bad("", "more than %d paths", maxPaths)
	case len(p.Keep) > maxKeep:
		return bad("", "more than %d descriptors", maxKeep)
	}
	for _, path := range p.Binds {
		if !clean(path) {
			return bad("write it from the root, without . and ..", "--bind %s is not a clean absolute path", path)
		}
		if path == "/" || path == "/run" || path == "/var/run" || path == "/proc" || path == "/sys" || path == "/dev" {
			return bad("name what is needed below it", "--bind %s would open what the hull is for", path)
		}
	}
	for _, path := range p.Sockets {
		if !clean(path) {
			return bad("write it from the root, without . and ..", "--allow-socket %s is not a clean absolute path", path)
		}
	}
	for _, path := range p.Relative {
		if !clean(path) {
			return bad("", "the socket %q is not a clean absolute path", path)
		}
	}
	for _, fd := range p.Keep {
		if fd < 3 || fd > maxDescriptor {
			return bad("0 to 2 are the program's in any case", "--keep-fd %d is not between 3 and %d", fd, maxDescriptor)
		}
	}
	size := 0
	for _, entry := range p.Env {
		size += len(entry) + 1
		if strings.ContainsRune(entry, 0) {
			return bad("", "a variable of the environment has a zero octet")
		}
	}
	if size > maxEnv {
		return bad("", "the environment has more than %d octets", maxEnv)
	}
	for _, name := range p.KeepEnv {
		if name == "" || strings.ContainsAny(name, "=*\x00") {
			return bad("name one variable each", "--keep-env %q is not the name of a variable", name)
		}
	}
	return nil
}

// clean says whether a path is absolute and has one spelling.
func clean(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0)
}

// below says whether path lies in dir, or is dir.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// outermost drops duplicates and every path that lies below another one.
func outermost(paths []string) []string {
	slices.SortFunc(paths, func(a, b string) int { return len(a) - len(b) })
	var out []string
	for _, path := range paths {
		if !slices.ContainsFunc(out, func(dir string) bool { return below(path, dir) }) {
			out = append(out, path)
		}
	}
	return out
}
