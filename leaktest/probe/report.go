package probe

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxReport bounds what the program inside writes, in octets.
const MaxReport = 256 << 10

// Input is what the program inside is to read.
func (s Spec) Input() ([]byte, error) {
	if len(s.Devices) > maxList || len(s.Sockets) > maxList {
		return nil, fmt.Errorf("probe: more than %d devices or sockets", maxList)
	}
	return json.Marshal(s)
}

// Parse reads what the program inside wrote.
func Parse(report []byte) ([]Outcome, error) {
	if len(report) > MaxReport {
		return nil, fmt.Errorf("probe: a report of more than %d octets", MaxReport)
	}
	var outcomes []Outcome
	if err := json.Unmarshal(report, &outcomes); err != nil {
		return nil, fmt.Errorf("probe: what it reports cannot be read: %w", err)
	}
	if len(outcomes) == 0 {
		return nil, errors.New("probe: it tried nothing")
	}
	return outcomes, nil
}
