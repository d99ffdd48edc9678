package odoh

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// octets is a field of the vectors.
type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// vectors are those of the implementation that the authors of RFC 9230 published with it
// (github.com/cloudflare/odoh-go, test-vectors.json): the RFC itself has none.
type vectors struct {
	Configs      octets
	Seed         octets
	KeyID        octets `json:"key_id"`
	Transactions []struct {
		Query           octets
		QueryPadding    int `json:"query_padding"`
		Response        octets
		ResponsePadding int    `json:"response_padding"`
		SealedQuery     octets `json:"sealed_query"`
		SealedResponse  octets `json:"sealed_response"`
	}
}

func load(t testing.TB) (v vectors, target *Target) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	algs, _ := Default.algorithms()
	key, err := algs.kem.DeriveKeyPair(v.Seed)
	if err != nil {
		t.Fatal(err)
	}
	target, err = newTarget(Default, algs, key)
	if err != nil {
		t.Fatal(err)
	}
	return v, target
}

func TestThePublishedConfigurationIsReadAndWritten(t *testing.T) {
	v, target := load(t)
	c, err := ParseConfigs(v.Configs)
	if err != nil {
		t.Fatal(err)
	}
	if c.Suite() != Default || !bytes.Equal(c.KeyID(), v.KeyID) {
		t.Errorf("suite %+v, key id %x", c.Suite(), c.KeyID())
	}
	if got := Configs(target); !bytes.Equal(got, v.Configs) {
		t.Errorf("written as %x", got)
	}
}

func TestThePublishedTransactionsAreOpenedAndSealed(t *testing.T) {
	v, target := load(t)
	if len(v.Transactions) == 0 {
		t.Fatal("no transactions")
	}
	for i, tx := range v.Transactions {
		query, answer, err := target.Open(tx.SealedQuery)
		if err != nil || !bytes.Equal(query, tx.Query) {
			t.Fatalf("%d: %x, %v", i, query, err)
		}
		wantPlain := appendVector(appendVector(nil, tx.Query), make([]byte, tx.QueryPadding))
		if !bytes.Equal(answer.plain, wantPlain) {
			t.Errorf("%d: plaintext %x", i, answer.plain)
		}
		// The client's side of the same exchange: HPKE exports the same secret to both.
		x := &Exchange{algs: answer.algs, plain: wantPlain, secret: answer.secret}
		response, err := x.Open(tx.SealedResponse)
		if err != nil || !bytes.Equal(response, tx.Response) {
			t.Errorf("%d: %x, %v", i, response, err)
		}
		nonce := tx.SealedResponse[3 : 3+16]
		sealed, err := answer.seal(appendVector(appendVector(nil, tx.Response), make([]byte, tx.ResponsePadding)), nonce)
		if err != nil || !bytes.Equal(sealed, tx.SealedResponse) {
			t.Errorf("%d: sealed as %x, %v", i, sealed, err)
		}
	}
}

var suites = []Suite{Default, {kemX25519, 1, 2}, {kemX25519, 1, 3}, {kemX25519, 2, 1}, {kemX25519, 3, 3}}

func TestEverySuiteCarriesAnExchange(t *testing.T) {
	for _, s := range suites {
		target, err := NewTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfigs(Configs(target))
		if err != nil {
			t.Fatal(err)
		}
		body, x, err := c.Seal([]byte("question"), 128)
		if err != nil {
			t.Fatal(err)
		}
		query, answer, err := target.Open(body)
		if err != nil || string(query) != "question" {
			t.Fatalf("%+v: %q, %v", s, query, err)
		}
		query[0] = 'Q' // the caller's own: it must not change what the response is bound to
		sealed, err := answer.Seal([]byte("answer"), 468)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.Open(sealed); err != nil || string(got) != "answer" {
			t.Errorf("%+v: %q, %v", s, got, err)
		}
	}
	for _, s := range []Suite{{}, {0x0010, 1, 1}, {kemX25519, 4, 1}, {kemX25519, 1, 0xffff}} {
		if _, err := NewTarget(s); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestTheLengthTellsOnlyTheBlock(t *testing.T) {
	target, _ := NewTarget(Default)
	sizes := map[int]bool{}
	for n := 1; n <= 128; n++ {
		body, _, err := target.config.Seal(make([]byte, n), 128)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(body)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("%d lengths", len(sizes))
	}
	one, _, _ := target.config.Seal([]byte("q"), 0)
	other, _, _ := target.config.Seal([]byte("q"), 0)
	if bytes.Equal(one[37:69], other[37:69]) {
		t.Error("two queries have the same encapsulated key")
	}
}

func TestTheFirstSupportedConfigurationIsTaken(t *testing.T) {
	first, _ := NewTarget(suites[2])
	second, _ := NewTarget(Default)
	list := "\x00\x02\x00\x03new" + // another version
		"\x00\x01\x00\x0b\x00\x10\x00\x01\x00\x01\x00\x03key" + // another KEM
		"\x00\x01\x00\x0b\x00\x20\x00\x09\x00\x01\x00\x03key" + // another KDF
		"\x00\x01\x00\x0b\x00\x20\x00\x01\x00\x09\x00\x03key" // another AEAD
	c, err := ParseConfigs(appendVector(nil, append([]byte(list), Configs(first, second)[2:]...)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Suite() != suites[2] || !bytes.Equal(c.KeyID(), first.config.keyID) {
		t.Errorf("%+v", c.Suite())
	}
	if _, err := ParseConfigs(appendVector(nil, []byte(list))); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "4 are offered") {
		t.Error(err)
	}
}

func TestConfigurationsThatAreWrongAreRefused(t *testing.T) {
	v, _ := load(t)
	good := string(v.Configs)
	for _, tt := range []struct {
		title, list string
		want        error
		text        string
	}{
		{"nothing", "", ErrMalformed, "cut short in its length"},
		{"empty list", "\x00\x00", ErrMalformed, "list of configurations is empty"},
		{"cut", good[:len(good)-1], ErrMalformed, "44 octets are announced and 43 are left"},
		{"more after the list", good + "x", ErrMalformed, "1 octets follow after the configurations"},
		{"cut in the version", "\x00\x01\x00", ErrMalformed, "configuration 0: cut short in its version"},
		{"cut in a configuration", "\x00\x04\x00\x02\x00\x09", ErrMalformed, "configuration 0: 9 octets"},
		{"malformed after a good one", "\x00\x2d" + good[2:] + "\x00", ErrMalformed, "configuration 1"},
		{"no algorithms", "\x00\x06\x00\x01\x00\x02\x00\x20", ErrMalformed, "cut short in the algorithms"},
		{"no key", "\x00\x0c\x00\x01\x00\x08\x00\x20\x00\x01\x00\x01\x00\x00", ErrMalformed, "the public key is empty"},
		{"short key", "\x00\x0d\x00\x01\x00\x09\x00\x20\x00\x01\x00\x01\x00\x01k", ErrMalformed, "public_key: "},
		{"more after the key", "\x00\x0e\x00\x01\x00\x0a\x00\x20\x00\x01\x00\x01\x00\x01kk", ErrMalformed, "follow after the public key"},
		{"too long", strings.Repeat("x", MaxConfigs+1), ErrTooLong, "4097 octets"},
	} {
		if _, err := ParseConfigs([]byte(tt.list)); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.title, err)
		}
	}
}

func TestAKeyOfLowOrderIsNotEncryptedTo(t *testing.T) {
	v, _ := load(t)
	list := append(append([]byte(nil), v.Configs[:14]...), make([]byte, 32)...)
	c, err := ParseConfigs(list)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Seal([]byte("question"), 0); err == nil {
		t.Error("encrypted to nobody")
	}
}

func TestAnOpenedMessageIsTheOneThatWasSealed(t *testing.T) {
	target, _ := NewTarget(Default)
	stranger, _ := NewTarget(Default)
	body, x, _ := target.config.Seal([]byte("question"), 128)
	_, other, _ := target.config.Seal([]byte("question"), 128)
	_, answer, err := target.Open(body)
	if err != nil {
		t.Fatal(err)
	}
	response, _ := answer.Seal([]byte("answer"), 0)
	padded := func(last byte) []byte {
		plain, _ := plaintext([]byte("answer"), 64)
		plain[len(plain)-1] = last
		b, _ := answer.seal(plain, make([]byte, 16))
		return b
	}
	queryWith := func(plain string) []byte {
		m := message{kind: typeQuery, keyID: target.config.keyID}
		enc, s := sender(t, target)
		sealed, _ := s.Seal(m.aad(), []byte(plain))
		m.encrypted = append(enc, sealed...)
		return m.append(nil)
	}
	edit := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	open := func(x *Exchange) func([]byte) ([]byte, error) { return x.Open }
	openAs := func(t *Target) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { q, _, err := t.Open(b); return q, err }
	}
	for _, tt := range []struct {
		title string
		open  func([]byte) ([]byte, error)
		body  []byte
		want  error
	}{
		{"the very query", openAs(target), body, nil},
		{"the very response", open(x), response, nil},
		{"zeros for padding", open(x), padded(0), nil},
		{"nothing", open(x), nil, ErrMalformed},
		{"the response of another query", open(other), response, ErrDecrypt},
		{"a query for a response", open(x), body, ErrDirection},
		{"a response for a query", openAs(target), response, ErrDirection},
		{"type 3", open(x), edit(response, 0), ErrDirection},
		{"another nonce", open(x), edit(response, 3), ErrDecrypt},
		{"another last octet", open(x), edit(response, -1), ErrDecrypt},
		{"a nonce that is too short", open(x), []byte("\x02\x00\x0fnnnnnnnnnnnnnnn\x00\x01c"), ErrMalformed},
		{"no ciphertext", open(x), []byte("\x02\x00\x10nnnnnnnnnnnnnnnn\x00\x00"), ErrMalformed},
		{"cut response", open(x), response[:len(response)-1], ErrMalformed},
		{"more after the response", open(x), append(bytes.Clone(response), 0), ErrMalformed},
		{"padding with a one", open(x), padded(1), ErrPadding},
		{"another target's query", openAs(stranger), body, ErrKeyID},
		{"another key id", openAs(target), edit(body, 3), ErrKeyID},
		{"another encapsulated key", openAs(target), edit(body, 37), ErrDecrypt},
		{"encapsulated key of low order", openAs(target), append(append(bytes.Clone(body[:37]), make([]byte, 32)...), body[69:]...), ErrDecrypt},
		{"another last octet in the query", openAs(target), edit(body, -1), ErrDecrypt},
		{"query without room for a key", openAs(target), message{typeQuery, target.config.keyID, make([]byte, 47)}.append(nil), ErrMalformed},
		{"query padded with ones", openAs(target), queryWith("\x00\x01q\x00\x02\x00\x01"), ErrPadding},
		{"empty query", openAs(target), queryWith("\x00\x00\x00\x00"), ErrMalformed},
		{"query without padding's length", openAs(target), queryWith("\x00\x01q\x00"), ErrMalformed},
		{"more after the padding", openAs(target), queryWith("\x00\x01q\x00\x00\x00"), ErrMalformed},
	} {
		got, err := tt.open(tt.body)
		if !errors.Is(err, tt.want) || err != nil && got != nil {
			t.Errorf("%s: %q, %v; want %v", tt.title, got, err, tt.want)
		}
	}
}

func TestLengthsHaveLimits(t *testing.T) {
	target, _ := NewTarget(Default)
	for _, tt := range []struct {
		size, block int
		want        error
	}{
		{MaxPlain, 0, nil},
		{MaxPlain, 1, nil},
		{1, MaxPlain, nil},
		{MaxPlain + 1, 0, ErrTooLong},
		{MaxPlain, 128, ErrTooLong},
		{1, MaxPlain + 1, ErrTooLong},
		{1, 1 << 62, ErrTooLong},
		{0, 128, ErrMalformed},
		{1, -1, ErrMalformed},
	} {
		body, _, err := target.config.Seal(make([]byte, tt.size), tt.block)
		if !errors.Is(err, tt.want) {
			t.Errorf("%d octets, block %d: %v", tt.size, tt.block, err)
		}
		if err != nil {
			continue
		}
		if len(body) > MaxMessage {
			t.Errorf("%d octets, block %d: a message of %d octets", tt.size, tt.block, len(body))
		}
		if _, _, err := target.Open(body); err != nil {
			t.Errorf("%d octets, block %d: %v", tt.size, tt.block, err)
		}
	}
}
