package dnscrypt

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20"
)

type octets []byte

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// vectors were made with libsodium by testdata/vectors.py: there are no published ones for whole messages.
type vectors struct {
	Seed          octets `json:"provider_seed"`
	Provider      octets `json:"provider_public"`
	Resolver      octets `json:"resolver_secret"`
	Client        octets `json:"client_secret"`
	ClientNonce   octets `json:"client_nonce"`
	ResolverNonce octets `json:"resolver_nonce"`
	Query         octets
	Response      octets
	Sets          []struct {
		Encryption     Encryption
		Key            octets
		Certificate    octets
		Extended       octets
		QueryPacket    octets `json:"query_packet"`
		ResponsePacket octets `json:"response_packet"`
	}
}

func load(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Sets) != 2 {
		t.Fatalf("%d sets", len(v.Sets))
	}
	return v
}

func private(t testing.TB, b []byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLibsodiumSignsTheSameCertificates(t *testing.T) {
	v := load(t)
	provider := ed25519.NewKeyFromSeed(v.Seed)
	for _, set := range v.Sets {
		want := Certificate{
			Encryption: set.Encryption, Resolver: [32]byte(private(t, v.Resolver).PublicKey().Bytes()), ClientMagic: [8]byte([]byte("magic!!!")),
			Serial: 4711, NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1700086400, 0),
		}
		for _, b := range []octets{set.Certificate, set.Extended} {
			if got, err := ParseCertificate(b, ed25519.PublicKey(v.Provider)); err != nil || got != want {
				t.Errorf("%s: %+v, %v", set.Encryption, got, err)
			}
		}
		if b, err := Sign(provider, want); err != nil || !bytes.Equal(b, set.Certificate) {
			t.Errorf("%s: signed as %x, %v", set.Encryption, b, err)
		}
	}
}

func TestLibsodiumMakesTheSamePackets(t *testing.T) {
	v := load(t)
	for _, set := range v.Sets {
		t.Run(set.Encryption.String(), func(t *testing.T) {
			server, err := newServer(Certificate{Encryption: set.Encryption, ClientMagic: [8]byte([]byte("magic!!!"))}, private(t, v.Resolver))
			if err != nil {
				t.Fatal(err)
			}
			client, err := newClient(server.Certificate(), private(t, v.Client))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(client.box.key[:], set.Key) {
				t.Errorf("key %x", client.box.key)
			}
			if b := client.packet(pad(v.Query, 256), [12]byte(v.ClientNonce)); !bytes.Equal(b, set.QueryPacket) {
				t.Errorf("query %x", b)
			}
			query, reply, err := server.Open(set.QueryPacket)
			if err != nil || !bytes.Equal(query, v.Query) {
				t.Fatalf("%x, %v", query, err)
			}
			nonce := [24]byte(append(bytes.Clone(v.ClientNonce), v.ResolverNonce...))
			if b := reply.packet(pad(v.Response, 128), &nonce); !bytes.Equal(b, set.ResponsePacket) {
				t.Errorf("response %x", b)
			}
			x := &Exchange{box: client.box, nonce: [12]byte(v.ClientNonce)}
			if got, err := x.Open(set.ResponsePacket); err != nil || !bytes.Equal(got, v.Response) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
}

// The vector of draft-denis-dprive-dnscrypt, appendix 1, for the step that makes a key of the shared secret.
func TestHChaCha20IsThatOfTheDraft(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	got, err := chacha20.HChaCha20(key, key[:16])
	if err != nil || hex.EncodeToString(got) != "51e3ff45a895675c4b33b46c64f4a9ace110d34df6a2ceab486372bacbd3eff6" {
		t.Errorf("%x, %v", got, err)
	}
}
