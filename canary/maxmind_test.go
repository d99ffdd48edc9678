package canary

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/visit"
)

// mmdb writes a file in the format of MaxMind (https://maxmind.github.io/MaxMind-DB/) in which all of 0.0.0.0/1 has one
// record, given as keys and values, and the rest has none.
func mmdb(t testing.TB, name string, record []byte) string {
	t.Helper()
	const nodes, separator = 1, 16
	node := func(n uint32) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} } // 24 bits
	var b []byte
	b = append(b, node(nodes+separator)...) // the record's place
	b = append(b, node(nodes)...)           // nothing
	b = append(b, make([]byte, separator)...)
	b = append(b, record...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	return write(t, name, append(b, mmMap(
		mmText("node_count"), mmNumber(nodes), mmText("record_size"), mmNumber(24), mmText("ip_version"), mmNumber(4),
		mmText("database_type"), mmText("Test"), mmText("binary_format_major_version"), mmNumber(2), mmText("binary_format_minor_version"), mmNumber(0),
		mmText("build_epoch"), mmNumber(1), mmText("languages"), []byte{0, 4}, mmText("description"), mmMap(),
	)...))
}

func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mmText(s string) []byte {
	if len(s) < 29 {
		return append([]byte{2<<5 | byte(len(s))}, s...)
	}
	return append([]byte{2<<5 | 29, byte(len(s) - 29)}, s...)
}

func mmNumber(n uint32) []byte {
	return append([]byte{6<<5 | 4}, binary.BigEndian.AppendUint32(nil, n)...)
}

func mmMap(parts ...[]byte) []byte {
	b := []byte{7<<5 | byte(len(parts)/2)}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func TestWhoseAnAddressIsStandsInTheFiles(t *testing.T) {
	long := strings.Repeat("é", 60)
	networks := mmdb(t, "asn.mmdb", mmMap(mmText("autonomous_system_number"), mmNumber(64500), mmText("autonomous_system_organization"), mmText(long)))
	countries := mmdb(t, "country.mmdb", mmMap(mmText("country"), mmMap(mmText("iso_code"), mmText("DE"))))
	m, err := OpenMaxMind(networks, countries)
	if err != nil {
		t.Fatal(err)
	}
	n := m.Network(netip.MustParseAddr("10.1.2.3"))
	if n == nil || *n != (visit.Network{Number: 64500, Name: strings.Repeat("é", maxHolder/2), Country: "DE"}) {
		t.Errorf("%+v", n)
	}
	for _, a := range []string{"200.1.2.3", "2001:db8::1"} {
		if n := m.Network(netip.MustParseAddr(a)); n != nil {
			t.Errorf("%s: %+v", a, n)
		}
	}
}

func TestAFileThatIsNoDatabaseOfNetworksIsAnError(t *testing.T) {
	for _, path := range []string{write(t, "x.mmdb", []byte("no database")), write(t, "empty", nil), "/does/not/exist"} {
		if _, err := OpenMaxMind(path); err == nil {
			t.Errorf("%s is read", path)
		}
	}
	if _, err := OpenMaxMind(); err == nil {
		t.Error("no file at all is read")
	}
}
