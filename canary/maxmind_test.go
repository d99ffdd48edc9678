package canary

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab/mmdbtest"
	"watertight/visit"
)

func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhoseAnAddressIsStandsInTheFiles(t *testing.T) {
	networks := mmdbtest.Build(map[netip.Prefix]visit.Network{
		netip.MustParsePrefix("10.1.0.0/16"): {Number: 64500, Name: strings.Repeat("é", 60)}, netip.MustParsePrefix("2001:db8::/32"): {Number: 64501, Name: "Other"},
	})
	countries := mmdbtest.Build(map[netip.Prefix]visit.Network{netip.MustParsePrefix("10.0.0.0/8"): {Country: "DE"}, netip.MustParsePrefix("192.0.2.0/24"): {Country: "DEU"}})
	m, err := OpenMaxMind(write(t, "asn.mmdb", networks), write(t, "country.mmdb", countries))
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]visit.Network{
		"10.1.2.3": {Number: 64500, Name: strings.Repeat("é", maxHolder/2), Country: "DE"}, "10.2.2.3": {Country: "DE"},
		"2001:db8::1": {Number: 64501, Name: "Other"}, "192.0.2.1": {}, "2001:db9::1": {}, "11.0.0.1": {},
	} {
		switch n := m.Network(netip.MustParseAddr(a)); {
		case n == nil && want == visit.Network{}:
		case n == nil || *n != want:
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
