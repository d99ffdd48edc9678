package read

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"strings"
)

const maxXMLDepth = 64

// Maven reads the proxies of a settings.xml: an entry for each element of each <proxy>, whose section is the number of the
// proxy, from 1. What comes after a mistake in the file is not seen.
func Maven(data []byte) []Entry {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Strict = false
	var found []Entry
	var path []string
	var text strings.Builder
	line, proxy := 0, 0
	for len(found) < maxEntries {
		t, err := d.Token()
		if err != nil {
			return found
		}
		switch t := t.(type) {
		case xml.StartElement:
			if len(path) >= maxXMLDepth {
				return found
			}
			path = append(path, t.Name.Local)
			if t.Name.Local == "proxy" {
				proxy++
			}
			text.Reset()
			line, _ = d.InputPos()
		case xml.CharData:
			if text.Len()+len(t) < 1<<12 {
				text.Write(t)
			}
		case xml.EndElement:
			if n := len(path); n >= 2 && path[n-2] == "proxy" {
				found = append(found, Entry{strconv.Itoa(proxy), path[n-1], strings.TrimSpace(text.String()), line})
			}
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
			text.Reset()
		}
	}
	return found
}
