package daemon

import (
	"fmt"
	"strings"

	"watertight/event"
	"watertight/front/contained"
)

// Summary is what became of what a contained program sent. It holds no names and no addresses.
type Summary struct {
	Names     int    `json:"names"`           // that had addresses
	Questions uint64 `json:"questions"`       // for names
	Dropped   uint64 `json:"dropped"`         // datagrams over a limit, or to nobody
	Refused   uint64 `json:"refused"`         // datagrams of which the program was told that nobody takes them
	Codes     string `json:"codes,omitempty"` // of connections and datagrams that were refused or failed, with how many: empty for none
}

func summaryOf(door *contained.Door, told *event.Tally) Summary {
	s := door.Stats()
	return Summary{Names: s.Names, Questions: total(s.DNS.Queries), Dropped: s.Dropped, Refused: s.Refused, Codes: told.String()}
}

// String gives the counts in one line.
func (s Summary) String() string {
	parts := []string{fmt.Sprintf("%d names, %d questions", s.Names, s.Questions)}
	if s.Dropped+s.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d datagrams dropped, %d refused", s.Dropped, s.Refused))
	}
	if s.Codes != "" {
		parts = append(parts, "refused or failed: "+s.Codes)
	}
	return strings.Join(parts, "; ")
}
