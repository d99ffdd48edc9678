package dnstest

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
)

// ECH is a key pair for Encrypted Client Hello (RFC 9849), with its configuration.
type ECH struct {
	config []byte // an ECHConfig (section 4)
	key    []byte
}

// NewECH makes a key pair whose configuration has a public name and an identifier.
func NewECH(publicName string, id byte) *ECH {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	c := append([]byte{id, 0, 0x20, 0, 32}, key.PublicKey().Bytes()...)         // X25519 with HKDF-SHA256 (RFC 9180, section 7.1)
	c = append(c, 0, 4, 0, 1, 0, 1, 64, byte(len(publicName)))                  // HKDF-SHA256 and AES-128-GCM; names of up to 64 octets
	c = append(append(c, publicName...), 0, 0)                                  // no extensions
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(c))) // the version of RFC 9849
	return &ECH{config: append(config, c...), key: key.Bytes()}
}

// List is the ECHConfigList with the one configuration.
func (e *ECH) List() []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(e.config))), e.config...)
}

// Text is the list as a configuration or a record has it.
func (e *ECH) Text() string { return base64.StdEncoding.EncodeToString(e.List()) }

// Takes makes a server take hellos that are encrypted to one of these, and send the first to a client that has another.
// With none, it takes no such hello and sends nothing.
func Takes(keys ...*ECH) func(*tls.Config) {
	return func(c *tls.Config) {
		for i, e := range keys {
			c.EncryptedClientHelloKeys = append(c.EncryptedClientHelloKeys, tls.EncryptedClientHelloKey{
				Config: e.config, PrivateKey: e.key, SendAsRetry: i == 0,
			})
		}
	}
}

// Key is the private key.
func (e *ECH) Key() []byte { return e.key }
