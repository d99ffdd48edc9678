package watch

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"watertight/capture"
	"watertight/wire"
)

// observer reads packets, and tells what it saw in them.
type observer struct {
	mu       sync.Mutex
	eyes     *eyes
	pending  []waiting // not searched yet
	octets   int
	loopback []int
	sent     int // octets of packets for the file
	done     done
	wanted   bool // packets are
	out      chan word
}

// waiting is a packet that is to be searched.
type waiting struct {
	capture.Packet
	index int
}

// observe is main of the observer, and gives its exit code.
func observe() int {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return 1
	}
	if len(os.Args) < 2 || strconv.Itoa(os.Getppid()) != os.Args[1] { // it has ended already
		return 1
	}
	socket, err := open()
	if err != nil {
		_ = say(os.Stdout, word{Blind: err.Error()}) // if nobody hears it, nobody wants to know
		return 1
	}
	o := &observer{out: make(chan word, 64)}
	o.eyes = newEyes(func(index int) bool { return slices.Contains(o.loopback, index) })
	var first order
	if err := hear(os.Stdin, &first); err != nil || o.take(first) != nil {
		return 1
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for w := range o.out {
			if say(os.Stdout, w) != nil {
				os.Exit(1) // nobody is there
			}
		}
	}()
	o.out <- word{Ready: true}
	read := make(chan error, 1)
	go func() { read <- socket.Read(o.keep) }()
	if err := o.obey(); err != nil {
		return 1
	}
	socket.Interrupt()
	if err := <-read; err != nil {
		o.done.Failed = err.Error()
	}
	o.search()
	o.mu.Lock()
	o.again()
	o.mu.Unlock()
	o.done.Lost = socket.Dropped()
	o.done.Packets, o.done.Crowded, o.done.Unsought, o.done.More = o.eyes.packets, o.eyes.crowded, o.eyes.unsought, o.eyes.more
	o.out <- word{Done: &o.done}
	close(o.out)
	<-written
	return 0
}

// open opens the socket, by the one right that there is.
func open() (*wire.CaptureSocket, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := become(); err != nil {
		return nil, err
	}
	return wire.OpenCaptureEverywhere()
}

// obey does what it is told until it is to stop. The error is the end of who told it, or of its patience.
func (o *observer) obey() error {
	for {
		var next order
		if err := hear(os.Stdin, &next); err != nil {
			return err
		}
		o.mu.Lock()
		err := o.take(next)
		o.mu.Unlock()
		switch {
		case err != nil:
			o.out <- word{Done: &done{Failed: err.Error()}}
			return err
		case next.Stop:
			return nil
		}
		o.search()
	}
}

// take takes an order. The caller holds o.mu.
func (o *observer) take(next order) error {
	for _, one := range []struct {
		into map[netip.AddrPort]bool
		from []netip.AddrPort
	}{{o.eyes.doors, next.Doors}, {o.eyes.resolvers, next.Resolvers}, {o.eyes.destinations, next.Destinations}} {
		for _, a := range one.from {
			if len(one.into) >= maxAddresses {
				return errTooMany
			}
			one.into[plain(a)] = true
		}
	}
	for _, name := range next.Own {
		if o.eyes.own[strings.ToLower(name)] = true; len(o.eyes.own) > maxOwn {
			return errTooMany
		}
	}
	if next.Loopback != nil {
		o.loopback = next.Loopback
	}
	o.wanted = o.wanted || next.Packets
	return o.eyes.seek(next.Labels)
}

// keep takes a packet from the kernel.
func (o *observer) keep(f wire.Frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.eyes.packets++
	if f.Length > len(f.Data) {
		o.done.Cut++
	}
	p := capture.Decode(capture.Framed(f.Protocol, f.Data))
	p.Time, p.Outgoing, p.Length = f.Time, f.Outgoing, f.Length+len(p.Frame)-len(f.Data)
	o.eyes.glance(&p, f.Interface)
	o.tell()
	if o.octets += len(p.Frame); o.octets > maxPending {
		o.eyes.unsought++
		return
	}
	o.pending = append(o.pending, waiting{p, f.Interface})
}

// atOnce is how many packets are searched before those that have come meanwhile are taken from the kernel.
const atOnce = 64

// search looks into what has come until now. Each label that a packet can have is known by now.
func (o *observer) search() {
	o.mu.Lock()
	left := len(o.pending)
	o.mu.Unlock()
	for left > 0 {
		o.mu.Lock()
		n := min(left, atOnce)
		for i := range o.pending[:n] {
			p := &o.pending[i]
			o.octets -= len(p.Frame)
			o.eyes.search(&p.Packet, p.index)
			o.file(p)
		}
		o.pending = o.pending[n:]
		if left -= n; left == 0 && len(o.pending) == 0 {
			o.pending = nil // and what it was part of
		}
		o.tell()
		o.mu.Unlock()
	}
}

// file hands a packet over for the file.
func (o *observer) file(p *waiting) {
	if !o.wanted {
		return
	}
	if o.sent += len(p.Frame); o.sent > maxPCAP {
		o.wanted, o.done.PCAPCut = false, true
		return
	}
	o.out <- word{Packet: &packet{At: p.Time, Index: p.index, Length: p.Length, Frame: p.Frame[:min(len(p.Frame), maxFrame)]}}
}

// maxFrame is how much of a packet comes into the file, in octets.
const maxFrame = 128 << 10

// tell tells the sightings that are new, or were seen again. The caller holds o.mu.
func (o *observer) tell() {
	for _, s := range o.eyes.fresh {
		s.told = s.Times
		copied := *s
		o.out <- word{Sight: &copied}
	}
	o.eyes.fresh = nil
}

// again tells the sightings that were seen more often than was told. The caller holds o.mu.
func (o *observer) again() {
	for _, s := range o.eyes.seen {
		if s.told != s.Times {
			o.eyes.fresh = append(o.eyes.fresh, s)
		}
	}
	o.tell()
}

// errNoRight is why there are no packets to be read.
var errNoRight = errors.New("this process may not read packets (CAP_NET_RAW)")
