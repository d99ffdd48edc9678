package canary

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"watertight/visit"
)

// maxMindFile bounds a file of networks, in octets: the largest that are published have less than half of it.
const maxMindFile = 512 << 20

// maxHolder bounds the name of a network's holder, in octets: it goes into the log with every question.
const maxHolder = 80

// MaxMind are networks and countries from files in the format of MaxMind: GeoLite2 ASN, Country or City, and what others
// publish in the same form.
type MaxMind struct{ readers []*maxminddb.Reader }

// OpenMaxMind reads files, each whole into memory. What several of them know is put together; the first that knows a thing
// is believed.
func OpenMaxMind(files ...string) (*MaxMind, error) {
	if len(files) == 0 {
		return nil, errors.New("canary: there is no file of networks")
	}
	m := &MaxMind{}
	for _, path := range files {
		text, err := readBounded(path, maxMindFile)
		if err != nil {
			return nil, err
		}
		r, err := maxminddb.OpenBytes(text)
		if err != nil {
			return nil, fmt.Errorf("canary: %s is no database of networks in the format of MaxMind (.mmdb): %w", path, err)
		}
		m.readers = append(m.readers, r)
	}
	return m, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("canary: %s has more than %d octets", path, most)
	}
	return text, err
}

// Network implements [Networks].
func (m *MaxMind) Network(addr netip.Addr) *visit.Network {
	var n visit.Network
	for _, r := range m.readers {
		var found struct {
			Number  uint32 `maxminddb:"autonomous_system_number"`
			Holder  string `maxminddb:"autonomous_system_organization"`
			Country struct {
				Code string `maxminddb:"iso_code"`
			} `maxminddb:"country"`
		}
		result := r.Lookup(addr)
		if result.Err() != nil || !result.Found() || result.Decode(&found) != nil {
			continue
		}
		if n.Number == 0 && n.Name == "" {
			n.Number, n.Name = found.Number, cut(strings.ToValidUTF8(found.Holder, ""), maxHolder)
		}
		if n.Country == "" && len(found.Country.Code) == 2 {
			n.Country = strings.Clone(found.Country.Code)
		}
	}
	if n == (visit.Network{}) {
		return nil
	}
	return &n
}

// cut is the beginning of a text, of so many octets at most and of whole characters.
func cut(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Clone(s)
}
