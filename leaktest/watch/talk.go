package watch

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// order is what this process says to the observer. The first one tells it all; others tell what there is besides.
type order struct {
	Labels       []string         `json:"labels,omitempty"`
	Doors        []netip.AddrPort `json:"doors,omitempty"`
	Resolvers    []netip.AddrPort `json:"resolvers,omitempty"`
	Destinations []netip.AddrPort `json:"destinations,omitempty"`
	Own          []string         `json:"own,omitempty"`
	Loopback     []int            `json:"loopback,omitempty"` // interfaces
	Packets      bool             `json:"packets,omitempty"`  // are wanted too
	Stop         bool             `json:"stop,omitempty"`
}

// word is what the observer says: one of these.
type word struct {
	Ready  bool    `json:"ready,omitempty"` // it reads packets from now on
	Blind  string  `json:"blind,omitempty"` // it cannot, and ends
	Sight  *sight  `json:"sight,omitempty"` // told again when it has been seen more often
	Packet *packet `json:"packet,omitempty"`
	Done   *done   `json:"done,omitempty"` // the last
}

// packet is one for the file.
type packet struct {
	At     time.Time `json:"at"`
	Index  int       `json:"index"`
	Length int       `json:"length"`
	Frame  []byte    `json:"frame"`
}

// done is what came of it.
type done struct {
	Packets  uint64 `json:"packets"`
	Lost     uint64 `json:"lost"`     // by the kernel
	Cut      uint64 `json:"cut"`      // that were not seen whole
	Unsought uint64 `json:"unsought"` // in which no label was looked for
	Crowded  uint64 `json:"crowded"`  // connections that were forgotten for others
	More     int    `json:"more"`
	PCAPCut  bool   `json:"pcap_cut"`
	Failed   string `json:"failed,omitempty"` // why it ended before it was to
}

// say sends a message: its length, then JSON.
func say(w io.Writer, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("watch: a message of %d octets", len(b))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

// hear reads a message into what message points to. The end is io.EOF.
func hear(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("watch: a message of %d octets", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, message)
}
