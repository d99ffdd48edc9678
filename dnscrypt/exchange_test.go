package dnscrypt

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

var encryptions = []Encryption{XSalsa20Poly1305, XChaCha20Poly1305}

func pair(t testing.TB, e Encryption) (*Client, *Server) {
	t.Helper()
	s, err := NewServer(Certificate{Encryption: e, NotBefore: start, NotAfter: end})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(s.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func message(n int) []byte { return bytes.Repeat([]byte{0x80}, n) } // looks like padding where there is none

func TestAnExchangeGoesThroughWithAnyLength(t *testing.T) {
	for _, e := range encryptions {
		c, s := pair(t, e)
		for _, n := range []int{12, 63, 64, 127, 128, 255, 256, 257, MaxMinimum - 1} {
			for _, tcp := range []bool{false, true} {
				seal, minimum := c.SealUDP, MinMinimum
				if tcp {
					seal, minimum = c.SealTCP, 0
				}
				packet, x, err := seal(message(n), minimum)
				if err != nil {
					t.Fatal(err)
				}
				query, r, err := s.Open(packet)
				if err != nil || !bytes.Equal(query, message(n)) {
					t.Fatalf("%s, %d octets: %d, %v", e, n, len(query), err)
				}
				response := append(make([]byte, 12), message(n-12)...)
				answer := r.SealUDP
				if tcp {
					answer = r.SealTCP
				}
				sealed, err := answer(response)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := x.Open(sealed); err != nil || !bytes.Equal(got, response) {
					t.Errorf("%s, %d octets: %d, %v", e, n, len(got), err)
				}
			}
		}
	}
}

func TestAQueryOverUDPTellsItsLengthInBlocksFromTheMinimumOn(t *testing.T) {
	c, _ := pair(t, XChaCha20Poly1305)
	for _, tt := range []struct{ query, minimum, want int }{
		{12, 256, 256},
		{255, 256, 256},
		{256, 256, 320},
		{12, 320, 320},
		{400, 320, 448},
		{MaxMinimum - 1, 256, MaxMinimum},
	} {
		packet, _, err := c.SealUDP(message(tt.query), tt.minimum)
		if err != nil || len(packet) != QueryOverhead+tt.want {
			t.Errorf("%+v: %d octets, %v", tt, len(packet), err)
		}
		if len(packet)+RelayHeaderLen > MaxUDP {
			t.Errorf("%+v: %d octets with a relay's header", tt, len(packet)+RelayHeaderLen)
		}
	}
	if got := [3]int{NextMinimum(256), NextMinimum(MaxMinimum - 64), NextMinimum(MaxMinimum)}; got != [3]int{320, MaxMinimum, MaxMinimum} {
		t.Error(got)
	}
}

func TestAQueryOverTCPHasPaddingOfARandomLength(t *testing.T) {
	c, _ := pair(t, XChaCha20Poly1305)
	seen := map[int]bool{}
	for range 400 { // each of four lengths is missed with a chance of 1 in 10^49
		packet, _, err := c.SealTCP(message(56), 0)
		if err != nil {
			t.Fatal(err)
		}
		seen[len(packet)-QueryOverhead] = true
	}
	if len(seen) != 4 || !seen[64] || !seen[128] || !seen[192] || !seen[256] {
		t.Errorf("%v", seen)
	}
	if packet, _, err := c.SealTCP(message(56), MaxRelayed); err != nil || len(packet) != QueryOverhead+MaxRelayed {
		t.Errorf("for a relay: %d octets, %v", len(packet), err)
	}
}

func TestLengthsOutsideTheLimitsAreRefused(t *testing.T) {
	c, s := pair(t, XChaCha20Poly1305)
	const room = 65408
	for _, tt := range []struct {
		title string
		seal  func([]byte, int) ([]byte, *Exchange, error)
		n     int
		min   int
		want  error
	}{
		{"UDP, no header", c.SealUDP, 11, 256, ErrMalformed},
		{"UDP, no room", c.SealUDP, MaxMinimum, 256, ErrTooLong},
		{"UDP, minimum 0", c.SealUDP, 12, 0, ErrMalformed},
		{"UDP, minimum 192", c.SealUDP, 12, 192, ErrMalformed},
		{"UDP, minimum 300", c.SealUDP, 12, 300, ErrMalformed},
		{"UDP, minimum too large", c.SealUDP, 12, MaxMinimum + 64, ErrMalformed},
		{"TCP, no header", c.SealTCP, 11, 0, ErrMalformed},
		{"TCP, longest", c.SealTCP, room - 1, 0, nil},
		{"TCP, no room", c.SealTCP, room, 0, ErrTooLong},
		{"TCP, longest message there is", c.SealTCP, 65535, 0, ErrTooLong},
		{"TCP, minimum 100", c.SealTCP, 12, 100, ErrMalformed},
		{"TCP, minimum below 0", c.SealTCP, 12, -64, ErrMalformed},
		{"TCP, minimum too large", c.SealTCP, 12, MaxRelayed + 64, ErrMalformed},
	} {
		packet, x, err := tt.seal(message(tt.n), tt.min)
		if !errors.Is(err, tt.want) || err != nil && (packet != nil || x != nil) {
			t.Errorf("%s: %v", tt.title, err)
		}
	}
	packet, _, _ := c.SealUDP(message(12), 256)
	_, r, err := s.Open(packet)
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err := r.SealUDP(message(255)); err != nil || len(sealed) >= len(packet) {
		t.Errorf("%d octets for %d, %v", len(sealed), len(packet), err)
	}
	if _, err := r.SealUDP(message(256)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a response longer than the query: %v", err)
	}
	if _, err := r.SealTCP(message(256)); err != nil {
		t.Error(err)
	}
	if _, err := r.SealTCP(message(65535)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if _, err := r.SealTCP(message(11)); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestTheSameQueryGetsPaddingOfTheSameLength(t *testing.T) {
	c, s := pair(t, XSalsa20Poly1305)
	across := map[int]bool{}
	for range 200 {
		packet, _, _ := c.SealTCP(message(12), 0)
		within := map[int]bool{}
		for range 3 {
			_, r, err := s.Open(packet)
			if err != nil {
				t.Fatal(err)
			}
			sealed, _ := r.SealTCP(message(12))
			within[len(sealed)], across[len(sealed)] = true, true
		}
		if len(within) != 1 {
			t.Fatalf("%v", within)
		}
	}
	if len(across) != 4 {
		t.Errorf("different queries: %v", across)
	}
}

func TestWhatIsOpenedIsWhatWasSealedForIt(t *testing.T) {
	for _, e := range encryptions {
		c, s := pair(t, e)
		_, stranger := pair(t, e)
		packet, x, _ := c.SealUDP(message(40), 256)
		_, other, _ := c.SealUDP(message(40), 256)
		_, r, err := s.Open(packet)
		if err != nil {
			t.Fatal(err)
		}
		sealed, _ := r.SealUDP(message(40))
		edit := func(b []byte, at int) []byte {
			b = bytes.Clone(b)
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
		nonce := [24]byte(append(bytes.Clone(r.nonce[:]), make([]byte, 12)...))
		response := func(padded string) []byte { return r.packet([]byte(padded), &nonce) }
		query := func(padded []byte) []byte { return c.packet(padded, r.nonce) }
		client := func(x *Exchange) func([]byte) ([]byte, error) { return x.Open }
		server := func(s *Server) func([]byte) ([]byte, error) {
			return func(b []byte) ([]byte, error) { q, _, err := s.Open(b); return q, err }
		}
		lowOrder := bytes.Clone(packet)
		clear(lowOrder[8:40])
		for _, tt := range []struct {
			title string
			open  func([]byte) ([]byte, error)
			b     []byte
			want  error
		}{
			{"the response", client(x), sealed, nil},
			{"the query", server(s), packet, nil},
			{"a response to another query", client(other), sealed, ErrNonce},
			{"a query for a response", client(x), packet, ErrMagic},
			{"an empty packet, as relays send", client(x), nil, ErrMalformed},
			{"a response without room", client(x), sealed[:ResponseOverhead-1], ErrMalformed},
			{"a response of nothing", client(x), response(""), ErrPadding},
			{"a response too long", client(x), append(bytes.Clone(sealed), make([]byte, MaxTCP)...), ErrTooLong},
			{"another magic", client(x), edit(sealed, 0), ErrMagic},
			{"another client's half of the nonce", client(x), edit(sealed, 8), ErrNonce},
			{"another resolver's half of the nonce", client(x), edit(sealed, 20), ErrDecrypt},
			{"another tag", client(x), edit(sealed, 32), ErrDecrypt},
			{"another last octet", client(x), edit(sealed, -1), ErrDecrypt},
			{"cut", client(x), sealed[:len(sealed)-1], ErrDecrypt},
			{"longer", client(x), append(bytes.Clone(sealed), 0), ErrDecrypt},
			{"no padding", client(x), response("twelve octets or more"), ErrPadding},
			{"zeros alone", client(x), response(string(make([]byte, 64))), ErrPadding},
			{"padding with a one", client(x), response("twelve octets or more\x80\x00\x01"), ErrPadding},
			{"padding of another block", client(x), response("twelve octets or more\x80"), nil},
			{"no DNS header", client(x), response("eleven oct.\x80"), ErrMalformed},
			{"another resolver's query", server(stranger), packet, ErrMagic},
			{"a response for a query", server(s), sealed, ErrMagic},
			{"nothing for a query", server(s), nil, ErrMagic},
			{"a query cut after its magic", server(s), packet[:20], ErrMalformed},
			{"a query too long", server(s), append(bytes.Clone(packet), make([]byte, MaxTCP)...), ErrTooLong},
			{"another client's key", server(s), edit(packet, 8), ErrDecrypt},
			{"a client's key of low order", server(s), lowOrder, ErrKey},
			{"another nonce", server(s), edit(packet, 40), ErrDecrypt},
			{"another last octet in the query", server(s), edit(packet, -1), ErrDecrypt},
			{"a query without padding", server(s), query(bytes.Repeat([]byte{1}, 64)), ErrPadding},
			{"a query padded to no block", server(s), query(pad(message(40), 65)), ErrPadding},
			{"a query without a DNS header", server(s), query(pad(message(11), 64)), ErrMalformed},
		} {
			t.Run(fmt.Sprint(e, "/", tt.title), func(t *testing.T) {
				got, err := tt.open(tt.b)
				if !errors.Is(err, tt.want) || err != nil && got != nil {
					t.Errorf("got %q, %v; want %v", got, err, tt.want)
				}
			})
		}
	}
}

func TestEveryClientHasItsKeyAndEveryQueryItsNonce(t *testing.T) {
	c, s := pair(t, XChaCha20Poly1305)
	fresh, _ := NewClient(s.Certificate())
	one, _, _ := c.SealUDP(message(12), 256)
	two, _, _ := c.SealUDP(message(12), 256)
	three, _, _ := fresh.SealUDP(message(12), 256)
	if !bytes.Equal(one[:40], two[:40]) || bytes.Equal(one[40:52], two[40:52]) {
		t.Error("one client: want the same key and different nonces")
	}
	if bytes.Equal(one[8:40], three[8:40]) {
		t.Error("two clients have the same key")
	}
	if [8]byte(one) != c.Certificate().ClientMagic || c.Certificate() != s.Certificate() {
		t.Error("the query does not start with the certificate's magic")
	}
}

func TestAResolversKeyOfLowOrderIsRefused(t *testing.T) {
	for _, e := range encryptions {
		for _, k := range [][32]byte{{}, {1}} {
			if _, err := NewClient(Certificate{Encryption: e, Resolver: k}); !errors.Is(err, ErrKey) {
				t.Errorf("%s: %v", e, err)
			}
		}
	}
	_, s := pair(t, 1)
	if _, err := NewClient(Certificate{Encryption: 3, Resolver: s.certificate.Resolver}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
