package odoh

import (
	"crypto/hpke"
	"errors"
	"testing"
)

// sender starts a query by hand, for plaintexts that Seal would not write.
func sender(t testing.TB, target *Target) ([]byte, *hpke.Sender) {
	t.Helper()
	algs := target.config.algs
	enc, s, err := hpke.NewSender(target.key.PublicKey(), algs.kdf, algs.aead, []byte("odoh query"))
	if err != nil {
		t.Fatal(err)
	}
	return enc, s
}

func expected(err error) bool {
	for _, want := range []error{ErrMalformed, ErrUnsupported, ErrTooLong, ErrKeyID, ErrDecrypt, ErrPadding, ErrDirection} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

func FuzzParseConfigs(f *testing.F) {
	v, _ := load(f)
	f.Add([]byte(v.Configs))
	f.Add([]byte("\x00\x04\x00\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfigs(b)
		if err != nil {
			if !expected(err) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := ParseConfigs(Configs(&Target{config: c}))
		if err != nil || string(again.keyID) != string(c.keyID) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	v, target := load(f)
	var answers []*Answer
	for _, tx := range v.Transactions[:2] {
		_, a, err := target.Open(tx.SealedQuery)
		if err != nil {
			f.Fatal(err)
		}
		answers = append(answers, a)
		f.Add([]byte(tx.SealedQuery), []byte("\x00\x01q\x00\x01\x00"))
		f.Add([]byte(tx.SealedResponse), []byte("\x00\x01q\x00\x01\x01"))
	}
	f.Fuzz(func(t *testing.T, body, plain []byte) {
		if _, _, err := target.Open(body); err != nil && !expected(err) {
			t.Errorf("target: %v", err)
		}
		for _, a := range answers {
			x := &Exchange{algs: a.algs, plain: a.plain, secret: a.secret}
			if _, err := x.Open(body); err != nil && !expected(err) {
				t.Errorf("client: %v", err)
			}
		}
		dns, err := parsePlaintext(plain)
		if err != nil {
			if !expected(err) {
				t.Errorf("plaintext: %v", err)
			}
			return
		}
		if want := appendVector(appendVector(nil, dns), make([]byte, len(plain)-4-len(dns))); string(want) != string(plain) {
			t.Errorf("%x was taken for %x", plain, dns)
		}
	})
}
