package gate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tokenPrefix begins every token.
const tokenPrefix = "wt1."

// Limits of what signs tokens, in octets.
const (
	MinKey = 32
	MaxKey = 1 << 10
)

// MaxTokenTime is how long a token may be good.
const MaxTokenTime = 366 * 24 * time.Hour

// ErrKey is a key that is none.
var ErrKey = fmt.Errorf("a key for tokens has %d to %d octets", MinKey, MaxKey)

// ErrStranger is a user who does not stand in the file.
var ErrStranger = errors.New("there is no such user in the file")

// Token makes a token for a user, good until then: `wt1.SECONDS.MAC`, the time in Unix seconds and the HMAC-SHA-256, in
// base64url, of the user, the time and the user's hash. So it ends with the password that it was made beside, and clients
// that escape other letters leave it as it is.
func (u *Users) Token(key []byte, user string, until time.Time) (string, error) {
	h := u.by[user]
	switch {
	case len(key) < MinKey || len(key) > MaxKey:
		return "", ErrKey
	case h == nil:
		return "", ErrStranger
	}
	seconds := strconv.FormatInt(until.Unix(), 10)
	return tokenPrefix + seconds + "." + spelled(mac(key, user, seconds, h)), nil
}

func spelled(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum) }

func mac(key []byte, user, seconds string, h *hash) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "watertight token 1\x00%s\x00%s\x00%s", user, seconds, h.text)
	return m.Sum(nil)
}

// IsToken says whether a password is meant as a token.
func IsToken(password string) bool { return strings.HasPrefix(password, tokenPrefix) }

// checkToken says whether a token is good for a user at a time, and whether it was.
func (u *Users) checkToken(key []byte, user, token string, now time.Time) (good, expired bool) {
	seconds, sum, _ := strings.Cut(strings.TrimPrefix(token, tokenPrefix), ".")
	h := u.by[user]
	known := h != nil
	if !known {
		h = u.stranger
	}
	// As text, since there is one spelling: a decoder passes over line feeds.
	same := hmac.Equal([]byte(sum), []byte(spelled(mac(key, user, seconds, h))))
	until, err := strconv.ParseInt(seconds, 10, 64)
	if !known || !same || err != nil || len(key) < MinKey {
		return false, false
	}
	return now.Unix() < until, now.Unix() >= until
}
