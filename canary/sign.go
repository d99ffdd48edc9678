package canary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"watertight/dnssec"
	"watertight/dnswire"
)

// maxKeyFile bounds the file of a key in octets.
const maxKeyFile = 64 << 10

// Key reads the zone's signing key from a file: a private key on P-256 in PKCS #8, as PEM. Where there is no file it makes a key,
// and the file, which nobody but its owner may read; made says so. A file that others may read or change is an error.
func Key(path string) (key *ecdsa.PrivateKey, made bool, err error) {
	key, err = readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, false, err
	}
	return key, true, writeKey(path, key)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows": // whose files have no such mode
		return nil, fmt.Errorf("others may read or change %s (mode %04o): chmod 600 it, or name another file and give the new DS record to the zone above",
			path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no private key in PEM (BEGIN PRIVATE KEY)", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key in PKCS #8", path) // the error could show some of it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds a key of another kind: algorithm 13 needs one on P-256", path)
	}
	return key, nil
}

// writeKey makes the file, whole or not at all, and takes the place of no other.
func writeKey(path string, key *ecdsa.PrivateKey) (err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// How long signatures hold: from an hour before they are made, for clocks that are behind, and for a day after it.
const (
	signedBefore = time.Hour
	signedFor    = 25 * time.Hour
)

// signer signs sets of records, and keeps the signatures over those that never change for an hour.
type signer struct {
	*dnssec.Signer
	now func() time.Time

	mu   sync.Mutex
	kept map[*dnswire.Record]keptSignature // by the first record of a set
}

type keptSignature struct {
	hour time.Time
	rr   dnswire.Record
}

func newSigner(zone string, key *ecdsa.PrivateKey, now func() time.Time) (*signer, error) {
	s, err := dnssec.NewSigner(zone, key)
	if err != nil {
		return nil, err
	}
	return &signer{Signer: s, now: now, kept: make(map[*dnswire.Record]keptSignature)}, nil
}

// sign gives the signature over a set.
func (s *signer) sign(set []dnswire.Record) (dnswire.Record, error) {
	hour := s.now().Truncate(time.Hour)
	return s.Sign(set, hour.Add(-signedBefore), hour.Add(signedFor))
}

// signKept is sign for a set of the zone's own, of which there are few.
func (s *signer) signKept(set []dnswire.Record) (dnswire.Record, error) {
	hour := s.now().Truncate(time.Hour)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.kept[&set[0]]; ok && k.hour.Equal(hour) {
		return k.rr, nil
	}
	rr, err := s.sign(set)
	if err == nil {
		s.kept[&set[0]] = keptSignature{hour, rr}
	}
	return rr, err
}
