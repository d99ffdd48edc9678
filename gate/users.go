package gate

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"watertight/client"
)

// Limits of a file of users.
const (
	MaxUsersFile = 4 << 20 // octets
	MaxUsers     = 10_000
	MaxPassword  = 255 // octets, of SOCKS 5 (RFC 1929)
)

// What new hashes cost: the first recommendation of OWASP for argon2id. A hash of another's making may cost up to the
// bounds, since everyone who knocks makes the program pay.
const (
	memory, passes, lanes          = 19 << 10, 2, 1 // KiB, times, threads
	maxMemory, maxPasses, maxLanes = 128 << 10, 10, 8
	saltSize, sumSize              = 16, 32 // octets
)

// hash is an argon2id hash (RFC 9106) with what it was made by.
type hash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
	text           string // as it is written
}

// Users are the users of a file, each with the hash of a password. They do not change.
type Users struct {
	names []string // in the order of the file
	by    map[string]*hash
	// stranger is what the password of someone unknown is compared with: it costs what that of a user does.
	stranger *hash
}

// LineError is a line of a file of users that is none. It shows nothing of the line.
type LineError struct {
	Line int // from 1
	Why  string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// ErrNoUser is a file that lets nobody in.
var ErrNoUser = errors.New("there is no user in it")

// ParseUsers reads lines `NAME:$argon2id$v=19$m=KiB,t=PASSES,p=THREADS$SALT$HASH`, as `watertight user add` writes them.
// Empty lines, and those that begin with #, are passed over. The error is a [*LineError], or [ErrNoUser].
func ParseUsers(text []byte) (*Users, error) {
	u := &Users{by: map[string]*hash{}}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := strings.TrimSpace(string(line))
		if s == "" || s[0] == '#' {
			continue
		}
		if err := u.add(s); err != nil {
			return nil, &LineError{n, err.Error()}
		}
	}
	if len(u.names) == 0 {
		return nil, ErrNoUser
	}
	first := u.by[u.names[0]]
	u.stranger = &hash{memory: first.memory, passes: first.passes, lanes: first.lanes, salt: make([]byte, saltSize), sum: make([]byte, len(first.sum))}
	return u, nil
}

func (u *Users) add(line string) error {
	user, text, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("it is not NAME:HASH")
	}
	if err := CheckUser(user); err != nil {
		return err
	}
	h, err := parseHash(text)
	switch {
	case err != nil:
		return err
	case u.by[user] != nil:
		return errors.New("the user stands in an earlier line too")
	case len(u.names) == MaxUsers:
		return fmt.Errorf("more than %d users", MaxUsers)
	}
	u.names = append(u.names, user)
	u.by[user] = h
	return nil
}

// Names gives the users in the order of the file.
func (u *Users) Names() []string { return u.names }

// Has says whether a user is one of them.
func (u *Users) Has(user string) bool { return u.by[user] != nil }

// CheckUser says why a text cannot be the name of a user: what clients send is read as [client.Parse] does.
func CheckUser(user string) error {
	id, err := client.Parse(user)
	switch {
	case user == "":
		return errors.New("the name of the user is empty")
	case err != nil:
		return err
	case id.User != user:
		return errors.New("the end of the name would be read as a label, such as -session-ID; take another name")
	}
	return nil
}

// ErrPassword is a password that cannot be one.
var ErrPassword = fmt.Errorf("a password has 1 to %d octets, no line break, and does not begin with %q, as tokens do", MaxPassword, tokenPrefix)

// NewLine gives the line for a user, with a hash of the password made just now.
func NewLine(user, password string) (string, error) {
	if err := CheckUser(user); err != nil {
		return "", err
	}
	if password == "" || len(password) > MaxPassword || strings.ContainsAny(password, "\r\n\x00") || strings.HasPrefix(password, tokenPrefix) {
		return "", ErrPassword
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails
	h := &hash{memory: memory, passes: passes, lanes: lanes, salt: salt, sum: make([]byte, sumSize)}
	sum := h.of(password)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("%s:$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", user, argon2.Version, h.memory, h.passes, h.lanes, enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

// of hashes a password as h was made.
func (h *hash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
}

// matches says whether h is the hash of the password. It takes as long whether it is or not.
func (h *hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password), h.sum) == 1
}

var errHash = errors.New("what stands behind the name is no hash of argon2id: write the line with `watertight user add`")

// parseHash reads `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`, salt and hash in base64 without padding.
func parseHash(text string) (*hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, errHash
	}
	h := &hash{text: text}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return nil, errHash
	}
	var n [3]uint64
	for i, key := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(costs[i], key)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v == 0 {
			return nil, errHash
		}
		n[i] = v
	}
	if n[0] > maxMemory || n[1] > maxPasses || n[2] > maxLanes || n[0] < 8*n[2] {
		return nil, fmt.Errorf("the hash costs more than is paid for a stranger, or nothing: m up to %d, t up to %d, p up to %d", maxMemory, maxPasses, maxLanes)
	}
	h.memory, h.passes, h.lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, errHash
	}
	return h, nil
}
