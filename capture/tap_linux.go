package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"watertight/wire"
)

// ErrIncomplete is returned for a capture that did not see everything, and therefore proves nothing.
var ErrIncomplete = errors.New("the capture is incomplete")

// MaxOctets is how much one tap keeps in memory. A tap that sees more is incomplete.
const MaxOctets = 256 << 20

// Tap reads every packet at one interface. Packets are in the kernel's ring from the moment [Open] returned; they
// are read while Run runs.
type Tap struct {
	point  string
	socket *wire.CaptureSocket

	mu      sync.Mutex
	packets []Packet
	octets  int
	full    bool
	cut     int // packets that are longer than what was seen of them
	ended   error
	markers map[uint64]chan struct{}
}

// Open starts to read packets at the interface with this index in the calling thread's network namespace. Point is
// what the packets will say about where they were seen.
func Open(point string, ifindex int) (*Tap, error) {
	socket, err := wire.OpenCapture(ifindex)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &Tap{point: point, socket: socket, markers: map[uint64]chan struct{}{}}, nil
}

// Run keeps the packets until ctx ends, and frees the socket.
func (t *Tap) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, t.socket.Interrupt)
	defer stop()
	err := t.socket.Read(t.keep)
	if err == nil && t.socket.Dropped() > 0 {
		err = fmt.Errorf("%w: %d packets were lost", ErrIncomplete, t.socket.Dropped())
	}
	t.mu.Lock()
	if err == nil {
		err = t.complete()
	}
	t.ended = err
	t.mu.Unlock()
	return errors.Join(err, t.socket.Close())
}

// complete gives ErrIncomplete if what was kept is not all. The caller holds t.mu.
func (t *Tap) complete() error {
	switch {
	case t.full:
		return fmt.Errorf("%w: more than %d octets", ErrIncomplete, MaxOctets)
	case t.cut > 0:
		return fmt.Errorf("%w: %d packets were seen in part only", ErrIncomplete, t.cut)
	}
	return nil
}

func (t *Tap) keep(f wire.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if nonce, ok := readMarker(f.Data); ok {
		if seen := t.markers[nonce]; seen != nil {
			delete(t.markers, nonce)
			close(seen)
		}
		return
	}
	t.octets += len(f.Data)
	if t.octets > MaxOctets {
		t.full = true
		return
	}
	if f.Length > len(f.Data) {
		t.cut++
	}
	p := Decode(bytes.Clone(f.Data))
	p.Time, p.Point, p.Outgoing, p.Length = f.Time, t.point, f.Outgoing, f.Length
	t.packets = append(t.packets, p)
}

// Packets gives what was seen so far, oldest first.
func (t *Tap) Packets() []Packet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Packet(nil), t.packets...)
}

// Err gives ErrIncomplete if the tap, once its Run has ended, did not see everything.
func (t *Tap) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// Expect announces a marker: the channel is closed once the tap has read the frame, and with it every packet
// before it. The frame is to be sent with [wire.SendFrame] in the tap's network namespace.
func (t *Tap) Expect(nonce uint64) (frame []byte, seen <-chan struct{}) {
	done := make(chan struct{})
	t.mu.Lock()
	t.markers[nonce] = done
	t.mu.Unlock()
	return marker(nonce), done
}

var markerText = []byte("watertight marker")

func marker(nonce uint64) []byte {
	b := make([]byte, 60)
	for i := range 6 {
		b[i] = 0xff
	}
	b[6] = 2 // a locally administered source address
	binary.BigEndian.PutUint16(b[12:], etherMarker)
	n := ethernetHeader + copy(b[ethernetHeader:], markerText)
	binary.BigEndian.PutUint64(b[n:], nonce)
	return b
}

func readMarker(b []byte) (uint64, bool) {
	text := ethernetHeader + len(markerText)
	if len(b) < text+8 || binary.BigEndian.Uint16(b[12:]) != etherMarker || !bytes.Equal(b[ethernetHeader:text], markerText) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[text:]), true
}
