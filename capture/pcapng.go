package capture

import (
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Write writes packets as pcapng, the format that Wireshark and tcpdump read, with one interface for each point.
func Write(w io.Writer, packets []Packet) error {
	options := pcapgo.DefaultNgWriterOptions
	options.SectionInfo.Application = "watertight"
	points := map[string]int{}
	var ng *pcapgo.NgWriter
	for i := range packets {
		p := &packets[i]
		id, known := points[p.Point]
		if !known {
			face := pcapgo.NgInterface{Name: p.Point, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
			var err error
			if ng == nil {
				ng, err = pcapgo.NewNgWriterInterface(w, face, options)
			} else {
				id, err = ng.AddInterface(face)
			}
			if err != nil {
				return fmt.Errorf("capture: write pcapng: %w", err)
			}
			points[p.Point] = id
		}
		info := gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Frame), Length: p.Length, InterfaceIndex: id}
		if err := ng.WritePacket(info, p.Frame); err != nil {
			return fmt.Errorf("capture: write pcapng: %w", err)
		}
	}
	if ng == nil { // no packets: still a file that the readers accept
		var err error
		face := pcapgo.NgInterface{Name: "none", LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
		if ng, err = pcapgo.NewNgWriterInterface(w, face, options); err != nil {
			return fmt.Errorf("capture: write pcapng: %w", err)
		}
	}
	if err := ng.Flush(); err != nil {
		return fmt.Errorf("capture: write pcapng: %w", err)
	}
	return nil
}
