package demo

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
)

// Numbers of encrypted client hello and of the HPKE suite in it: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM
// (RFC 9849, section 4; RFC 9180, section 7).
const (
	echVersion  = 0xfe0d
	kemX25519   = 0x0020
	kdfSHA256   = 0x0001
	aeadAES128  = 0x0001
	echConfigID = 1
)

// newECH makes a key with which a server reads hellos whose server name is encrypted, and the configuration that its
// clients need, in base64. Front is the name that stands in the clear instead: that of the hosting service.
func newECH(front string) (key tls.EncryptedClientHelloKey, clients string, err error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return key, "", err
	}
	public := private.PublicKey().Bytes()
	contents := []byte{echConfigID}
	contents = binary.BigEndian.AppendUint16(contents, kemX25519)
	contents = binary.BigEndian.AppendUint16(contents, uint16(len(public)))
	contents = append(contents, public...)
	contents = binary.BigEndian.AppendUint16(contents, 4)
	contents = binary.BigEndian.AppendUint16(contents, kdfSHA256)
	contents = binary.BigEndian.AppendUint16(contents, aeadAES128)
	contents = append(contents, 64, byte(len(front))) // names are padded to 64 octets
	contents = append(contents, front...)
	contents = append(contents, 0, 0) // no extensions

	config := binary.BigEndian.AppendUint16(nil, echVersion)
	config = binary.BigEndian.AppendUint16(config, uint16(len(contents)))
	config = append(config, contents...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
	key = tls.EncryptedClientHelloKey{Config: config, PrivateKey: private.Bytes(), SendAsRetry: true}
	return key, base64.StdEncoding.EncodeToString(list), nil
}
