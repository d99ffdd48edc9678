package wireguard

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// KeyText is the length of a key as text, in octets.
const KeyText = 44

// ErrKey is returned for a text that is no key. It shows nothing of the text.
var ErrKey = errors.New("not a key of WireGuard: 32 octets in base64, 44 characters, as `wg genkey` and `wg pubkey` print them")

// PublicKey is a key of Curve25519 that may be known.
type PublicKey [32]byte

// PrivateKey is a key that no verb prints and no encoder sees.
type PrivateKey [32]byte

// PresharedKey is a key that a peer is given beside its own. No verb prints it and no encoder sees it. Zero is none.
type PresharedKey [32]byte

// ParsePublicKey reads a key from base64.
func ParsePublicKey(s string) (PublicKey, error) {
	k, err := parseKey(s)
	if err == nil && k == [32]byte{} {
		err = ErrKey
	}
	return PublicKey(k), err
}

// ParsePrivateKey reads a key from base64.
func ParsePrivateKey(s string) (PrivateKey, error) {
	k, err := parseKey(s)
	if err == nil && k == [32]byte{} {
		err = ErrKey
	}
	return PrivateKey(k), err
}

// ParsePresharedKey reads a key from base64. Thirty-two zeros, which would mean that there is none, are refused.
func ParsePresharedKey(s string) (PresharedKey, error) {
	k, err := parseKey(s)
	if err == nil && k == [32]byte{} {
		err = ErrKey
	}
	return PresharedKey(k), err
}

func parseKey(s string) (k [32]byte, err error) {
	if len(s) != KeyText {
		return k, ErrKey
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, ErrKey
	}
	return [32]byte(b), nil
}

// String gives the key in base64.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

const hidden = "***"

// Format prints *** for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue gives ***.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText gives ***.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format prints *** for every verb.
func (PresharedKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue gives ***.
func (PresharedKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText gives ***.
func (PresharedKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// text is a key as the device is told it. It never leaves this package.
func text(k [32]byte) string { return hex.EncodeToString(k[:]) }
