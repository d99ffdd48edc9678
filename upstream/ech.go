package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// MaxECH bounds an ECHConfigList, in octets.
const MaxECH = 8192

// CheckECH refuses an ECHConfigList (RFC 9849, section 4) from which no configuration can be used, or of more than
// [MaxECH] octets. The judge is crypto/tls itself: it prepares a handshake, of which nothing is ever sent.
func CheckECH(list []byte) error {
	if len(list) > MaxECH {
		return fmt.Errorf("longer than %d octets", MaxECH)
	}
	if len(list) == 0 { // crypto/tls takes nil for a handshake without ECH
		return errors.New("it is empty")
	}
	conn := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "a.example", NextProtos: []string{"dot"}, EncryptedClientHelloConfigList: list,
	}})
	defer conn.Close()
	conn.SetTransportParameters([]byte{})
	err := conn.Start(context.Background())
	if err == nil && !isPublicName(conn.ConnectionState().ServerName) {
		return errors.New("its public name could be taken for an address")
	}
	if err != nil {
		return errors.New("no configuration in it is well-formed, of the version of RFC 9849, and made for algorithms that are known here")
	}
	return nil
}

// isPublicName refuses what could be taken for an IPv4 address: a name whose last label is a number, in any of the ways in
// which one can be written (RFC 9849, section 6.1.7).
func isPublicName(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex := len(last) > 1 && strings.EqualFold(last[:2], "0x") && strings.Trim(last[2:], "0123456789abcdefABCDEF") == ""
	return strings.Trim(last, "0123456789") != "" && !hex
}

// parseECH reads the list of a configuration: base64, as the `ech` parameter of a record is written (RFC 9848, section 3).
func parseECH(text string) ([]byte, error) {
	list, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	if err := CheckECH(list); err != nil {
		return nil, fmt.Errorf("it is no ECHConfigList that can be used: %w", err)
	}
	return list, nil
}
