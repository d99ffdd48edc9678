package capture

import (
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Writer writes packets one after the other as pcapng, the format that Wireshark and tcpdump read, with one interface for
// each point.
type Writer struct {
	w      io.Writer
	ng     *pcapgo.NgWriter
	points map[string]int
}

// NewWriter writes to w. Close must be called at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, points: map[string]int{}} }

// Write writes one packet.
func (w *Writer) Write(p *Packet) error {
	id, err := w.point(p.Point)
	if err == nil {
		info := gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Frame), Length: p.Length, InterfaceIndex: id}
		err = w.ng.WritePacket(info, p.Frame)
	}
	if err != nil {
		return fmt.Errorf("capture: write pcapng: %w", err)
	}
	return nil
}

// point gives the number of an interface, which is told of first.
func (w *Writer) point(name string) (id int, err error) {
	if id, known := w.points[name]; known {
		return id, nil
	}
	face := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
	if w.ng == nil {
		options := pcapgo.DefaultNgWriterOptions
		options.SectionInfo.Application = "watertight"
		w.ng, err = pcapgo.NewNgWriterInterface(w.w, face, options)
	} else {
		id, err = w.ng.AddInterface(face)
	}
	if err == nil {
		w.points[name] = id
	}
	return id, err
}

// Close writes what is left. Without any packet, it is still a file that the readers accept.
func (w *Writer) Close() error {
	var err error
	if w.ng == nil {
		_, err = w.point("none")
	}
	if err == nil {
		err = w.ng.Flush()
	}
	if err != nil {
		return fmt.Errorf("capture: write pcapng: %w", err)
	}
	return nil
}

// Write writes packets as [Writer] does.
func Write(w io.Writer, packets []Packet) error {
	ng := NewWriter(w)
	for i := range packets {
		if err := ng.Write(&packets[i]); err != nil {
			return err
		}
	}
	return ng.Close()
}
