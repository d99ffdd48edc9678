package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MaxSecret is the most octets a file may have that ${file:PATH} reads.
const MaxSecret = 64 << 10

// Host is what the loader may ask of the machine: the environment and the files that a configuration names.
type Host struct {
	// Getenv gives an environment variable, and whether it is set.
	Getenv func(name string) (string, bool)
	// ReadFile gives the content of a file, or an error if it has more than limit octets.
	ReadFile func(path string, limit int64) ([]byte, error)
	// Exposed says that every user of the machine may read or change a file; a secret does not belong into it.
	Exposed func(path string) bool
}

// ThisHost is the machine the program runs on.
func ThisHost() Host { return Host{Getenv: os.LookupEnv, ReadFile: readFile, Exposed: exposed} }

func (h Host) validate() error {
	if h.Getenv == nil || h.ReadFile == nil || h.Exposed == nil {
		return errors.New("config: a Host needs Getenv, ReadFile and Exposed")
	}
	return nil
}

// errTooLarge is wrapped by the error for a file beyond its limit.
var errTooLarge = errors.New("the file is too large")

// pipeTime is how long a pipe may take until its end: it may have a writer that never writes.
const pipeTime = 10 * time.Second

// errSilent is for a pipe that nobody writes to.
var errSilent = errors.New("it is a pipe, and nothing came out of it")

// readFile reads a file, or a pipe as a shell gives it for <(COMMAND). It never waits for longer than pipeTime.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe without a writer would wait for one
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(pipeTime)) // a plain file has none, and does not wait
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && len(b) == 0 && info.Mode()&fs.ModeNamedPipe != 0:
		return nil, errSilent
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%w: it has more than %d octets", errTooLarge, limit)
	}
	return b, nil
}

// exposed says that every user of this host may read or change a file: its mode lets them, and so do the directories
// that it stands in.
func exposed(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o006 == 0 {
		return false
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

// reason says why a file could not be read, without its path: the caller names it.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read it"
	case errors.Is(err, errTooLarge), errors.Is(err, errSilent):
		return err.Error()
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// text is a string value of the file with its references filled in.
type text struct {
	value   string // with references filled in: never printed if secret
	written string // as it stands in the file
	secret  bool   // a reference was filled in
	pos     pos
	// shape is value with each secret inside the user information of a URL replaced by a letter. Where safe is set,
	// every secret stands there, so that errors about shape may be printed.
	shape string
	safe  bool
}

// expand fills in ${file:PATH} and ${env:NAME}. `$${` stands for `${`. A reference in the user information of a URL
// is escaped, so that a password may hold any character; elsewhere it is put in as it is. What a reference gives is
// not expanded again.
func (l *loader) expand(n *node) (text, bool) {
	t := text{written: n.text, pos: n.pos, safe: true}
	var value, shape strings.Builder
	userStart, userEnd := userinfo(n.text)
	ok := true
	for rest, at := n.text, 0; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		if strings.HasSuffix(before, "$") && found {
			value.WriteString(before + "{")
			shape.WriteString(before + "{")
			at, rest = at+len(before)+2, after
			continue
		}
		value.WriteString(before)
		shape.WriteString(before)
		if !found {
			break
		}
		at += len(before)
		ref, tail, closed := strings.Cut(after, "}")
		if !closed {
			l.problem(n.pos, "`${` is not closed", "write ${env:NAME} or ${file:PATH}; for a plain `${` write `$${`")
			return text{}, false
		}
		secret, good := l.reference(n.pos, ref)
		ok = ok && good
		t.secret = true
		if userStart <= at && at < userEnd {
			value.WriteString(escape(secret))
			shape.WriteByte('x')
		} else {
			value.WriteString(secret)
			t.safe = false
		}
		at, rest = at+len(ref)+3, tail
	}
	t.value, t.shape = value.String(), shape.String()
	return t, ok
}

// userinfo gives the octets between `://` and the last `@` of the authority (RFC 3986, section 3.2.1), references
// counted as text without a meaning of their own.
func userinfo(s string) (start, end int) {
	i := strings.Index(s, "://")
	if i < 0 {
		return 0, 0
	}
	depth := 0
	for j := i + 3; j < len(s); j++ {
		switch {
		case strings.HasPrefix(s[j:], "${"):
			depth = 1
		case s[j] == '}':
			depth = 0
		case depth == 0 && s[j] == '@':
			end = j
		case depth == 0 && strings.IndexByte("/?#", s[j]) >= 0:
			return i + 3, end
		}
	}
	return i + 3, end
}

// escape writes s in percent form but for the unreserved characters (RFC 3986, section 2.3).
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// reference gives what `kind:argument` stands for.
func (l *loader) reference(at pos, ref string) (string, bool) {
	scheme, arg, _ := strings.Cut(ref, ":")
	switch {
	case scheme == "env" && arg != "":
		v, ok := l.host.Getenv(arg)
		if !ok {
			l.problem(at, "the environment has no variable "+arg, "set it before the start, or write ${file:PATH}")
			return "", false
		}
		if v == "" {
			l.problem(at, "the environment variable "+arg+" is empty", "set it before the start, or remove the reference")
			return "", false
		}
		return v, true
	case scheme == "file" && arg != "":
		b, err := l.host.ReadFile(l.relative(arg), MaxSecret)
		if err != nil {
			l.problem(at, fmt.Sprintf("the file %s cannot be read: %s", arg, reason(err)), "check the path (a relative one begins at the configuration file) and its permissions")
			return "", false
		}
		if path := l.relative(arg); l.host.Exposed(path) {
			l.warn(at, fmt.Sprintf("every user of this host may read or change the file %s, and a secret stands in it", arg), "chmod 600 "+arg)
		}
		v := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if v == "" {
			l.problem(at, "the file "+arg+" is empty", "write the secret into it, or remove the reference")
			return "", false
		}
		return v, true
	default:
		l.problem(at, "`${` begins a reference, and this one is not known", "write ${env:NAME} or ${file:PATH}; for a plain `${` write `$${`")
		return "", false
	}
}

// relative finds a path as the configuration means it: from the directory of its own file.
func (l *loader) relative(path string) string {
	if filepath.IsAbs(path) || l.file == "" {
		return path
	}
	return filepath.Join(filepath.Dir(l.file), path)
}
