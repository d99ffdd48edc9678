package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"watertight/capture"
	"watertight/contain"
)

// Watch watches, until it is stopped.
type Watch struct {
	o     Options
	cmd   *exec.Cmd
	to    io.WriteCloser
	from  io.Reader
	stop  chan struct{}
	ended sync.WaitGroup

	mu      sync.Mutex
	err     error
	seen    Seen
	sights  map[mark]int // where in seen.Sightings
	inside  map[mark]bool
	told    map[string]bool // labels that the observer knows
	faces   map[int]net.Interface
	names   []string
	sockets map[Socket]bool
	asked   int // processes that were looked for
	done    *done
	pcap    *capture.Writer
}

// maxAsked is how many sightings are looked up in /proc.
const maxAsked = 200

// Start begins to watch the network namespace of this process. When it returns, what crosses an interface is seen, or [Seen.Blind] will
// say why not. It ends with ctx too; Stop must be called in any case.
func Start(ctx context.Context, o Options) (*Watch, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if len(os.Args) > 0 && (os.Args[0] == narrowName || os.Args[0] == observerName) { // else it would start itself without end
		return nil, errors.New("watch: main does not call Child")
	}
	w := &Watch{
		o: o, stop: make(chan struct{}), sights: map[mark]int{}, inside: map[mark]bool{}, told: map[string]bool{}, faces: map[int]net.Interface{}, sockets: map[Socket]bool{},
	}
	if o.PCAP != nil {
		w.pcap = capture.NewWriter(o.PCAP)
	}
	w.face()
	if err := w.begin(ctx); err != nil {
		w.blind(err.Error())
	}
	w.ended.Go(func() { w.look(ctx) })
	return w, nil
}

// begin starts the observer, and waits until it reads.
func (w *Watch) begin(ctx context.Context) error {
	w.cmd = exec.Command(contain.Self, strconv.Itoa(os.Getpid()))
	w.cmd.Args[0] = narrowName
	w.cmd.Env = []string{}
	var complaint tail
	w.cmd.Stderr = &complaint
	var err error
	if w.to, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	if w.from, err = w.cmd.StdoutPipe(); err != nil {
		return err
	}
	if err := contain.Start(w.cmd); err != nil {
		w.cmd = nil
		return fmt.Errorf("the observer cannot be started: %w", err)
	}
	heard := make(chan error, 1)
	first := w.order(true)
	first.Packets, first.Resolvers, first.Own = w.pcap != nil, w.o.Resolvers, w.o.Own
	go func() {
		_ = say(w.to, first) // one that has ended says why
		var answer word
		err := hear(w.from, &answer)
		if err == nil && answer.Blind != "" {
			err = errors.New(answer.Blind)
			if strings.Contains(answer.Blind, "CAP_NET_RAW") {
				err = fmt.Errorf("%w: %s", err, mend)
			}
		} else if err != nil {
			err = fmt.Errorf("the observer ended: %w: %s", err, strings.TrimSpace(complaint.String()))
		}
		heard <- err
	}()
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	select {
	case err = <-heard:
	case <-timer.C:
		err = errors.New("the observer did not begin")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
		w.cmd = nil
		return err
	}
	w.ended.Go(w.listen)
	return nil
}

// mend says how packets can be read.
const mend = "packets are not seen without it. Run the test as root, or let the program have it for its observer alone: " +
	"`sudo setcap cap_net_raw+p` and the path of the program; for a service, see docs/leak-test.md"

// order is what there is to say at this moment: labels that were not told yet, or all of them.
func (w *Watch) order(all bool) order {
	o := order{Loopback: []int{}}
	labels := w.o.Labels()
	if w.o.Doors != nil {
		o.Doors = w.o.Doors()
	}
	if w.o.Destinations != nil {
		o.Destinations = w.o.Destinations()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range labels {
		if !w.told[l] {
			w.told[l] = true
			o.Labels = append(o.Labels, l)
		}
	}
	if all {
		o.Labels = slices.Collect(maps.Keys(w.told))
	}
	for i, f := range w.faces {
		if f.Flags&net.FlagLoopback != 0 {
			o.Loopback = append(o.Loopback, i)
		}
	}
	return o
}

// facesEvery and socketsEvery are how often the interfaces and the sockets of this process are listed.
const (
	facesEvery   = 20 // ticks
	socketsEvery = 5
)

// look tells the observer what there is to look for, and looks at this process, until it is stopped.
func (w *Watch) look(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if n%facesEvery == 0 {
			w.face()
		}
		if n%socketsEvery == 0 {
			w.socket()
		}
		select {
		case <-ticker.C:
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		}
		if w.cmd != nil {
			_ = say(w.to, w.order(false)) // where it has ended, that is noticed when it is heard
		}
	}
}

// face learns which interfaces there are.
func (w *Watch) face() {
	faces, err := net.Interfaces()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("watch: the interfaces of this host cannot be listed: %w", err))
		return
	}
	for _, f := range faces {
		w.faces[f.Index] = f
		if !slices.Contains(w.names, f.Name) && len(w.names) < maxAddresses {
			w.names = append(w.names, f.Name)
		}
	}
}

// socket looks for sockets of this process that it should not have.
func (w *Watch) socket() {
	own, err := Own()
	var doors []netip.AddrPort
	if w.o.Doors != nil {
		doors = w.o.Doors()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.blinded("the sockets of this process are not seen: " + err.Error())
		return
	}
	for _, s := range Suspicious(own, doors, w.o.Resolvers) {
		if !w.sockets[s] && len(w.sockets) < maxSightings {
			w.sockets[s] = true
			w.seen.Sockets = append(w.seen.Sockets, s)
		}
	}
}

// listen hears what the observer says, until its last word.
func (w *Watch) listen() {
	for {
		var said word
		if err := hear(w.from, &said); err != nil {
			w.blind("the observer ended before it was to: " + err.Error())
			return
		}
		switch {
		case said.Sight != nil:
			w.sighted(said.Sight)
		case said.Packet != nil:
			w.file(said.Packet)
		case said.Done != nil:
			w.mu.Lock()
			w.done = said.Done
			w.mu.Unlock()
			return
		}
	}
}

// sighted takes a sighting, and finds out whose packet it is.
func (w *Watch) sighted(s *sight) {
	m := mark{line{s.Index, s.From, s.To}, s.What, s.Form, s.Label}
	w.mu.Lock()
	at, known := w.sights[m]
	if known {
		w.seen.Sightings[at].Times = s.Times
	}
	skip := known || w.inside[m] || len(w.sights) >= maxSightings
	look := !skip && w.asked < maxAsked
	if look {
		w.asked++
	}
	w.mu.Unlock()
	if skip {
		return
	}
	var received bool
	if look {
		s.Process, s.Ours, received = owner(&s.Sighting)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// A client of this host at a socket of ours that no door was told of, such as a relay of SOCKS5, and what it hears from there.
	if s.Loopback && s.What == Label && (received || s.Ours && ports[s.To.Port()] == "" && ports[s.From.Port()] == "" && s.hearing()) {
		if len(w.inside) < maxSightings {
			w.inside[m] = true
		}
		return
	}
	s.Interface = w.nameOf(s.Index)
	w.sights[m] = len(w.seen.Sightings)
	w.seen.Sightings = append(w.seen.Sightings, s.Sighting)
}

// hearing says that the sender is a socket of this process that others speak to first.
func (s *sight) hearing() bool {
	own, err := Own()
	return err == nil && slices.ContainsFunc(own, func(one Socket) bool {
		return one.Proto == s.Proto && one.hears() && one.Local.Port() == s.From.Port()
	})
}

// nameOf gives an interface's name. The caller holds w.mu.
func (w *Watch) nameOf(index int) string {
	if f, ok := w.faces[index]; ok {
		return f.Name
	}
	f, err := net.InterfaceByIndex(index)
	if err != nil { // it has gone
		return "interface " + strconv.Itoa(index)
	}
	w.faces[index] = *f
	if !slices.Contains(w.names, f.Name) {
		w.names = append(w.names, f.Name)
	}
	return f.Name
}

// file writes a packet.
func (w *Watch) file(p *packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pcap == nil {
		return
	}
	err := w.pcap.Write(&capture.Packet{Time: p.At, Point: w.nameOf(p.Index), Length: max(p.Length, len(p.Frame)), Frame: p.Frame})
	if err != nil {
		w.err, w.pcap = errors.Join(w.err, err), nil
	}
}

// blind notes what is not seen.
func (w *Watch) blind(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blinded(why)
}

// blinded is blind for a caller who holds w.mu.
func (w *Watch) blinded(why string) {
	switch {
	case strings.Contains(w.seen.Blind, why):
	case w.seen.Blind == "":
		w.seen.Blind = why
	case len(w.seen.Blind) < maxLine:
		w.seen.Blind += "; " + why
	}
}

// Stop ends it, once all that crossed an interface before was searched for the labels that there are now, and gives what was seen. The
// error is that of PCAP.
func (w *Watch) Stop() (Seen, error) {
	close(w.stop)
	if w.cmd != nil {
		last := w.order(true) // what look says at this moment may come too late
		last.Stop = true
		timer := time.AfterFunc(stopWait, func() { _ = w.cmd.Process.Kill() })
		defer timer.Stop()
		_ = say(w.to, last) // where it has ended, that is noticed when it is heard
	}
	w.ended.Wait()
	if w.cmd != nil {
		_ = w.to.Close()
		_ = w.cmd.Wait()
	}
	w.face()
	w.socket()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pcap != nil {
		w.err = errors.Join(w.err, w.pcap.Close())
	}
	w.seen.Interfaces = nil
	if w.cmd != nil {
		w.seen.Interfaces = w.names
	}
	w.conclude()
	slices.SortStableFunc(w.seen.Sightings, func(a, b Sighting) int { return a.At.Compare(b.At) })
	return w.seen, w.err
}

// conclude adds what the observer says at last. The caller holds w.mu.
func (w *Watch) conclude() {
	d := w.done
	if d == nil {
		if w.seen.Blind == "" {
			w.blinded("the observer said nothing at its end")
		}
		return
	}
	w.seen.Packets, w.seen.More, w.seen.PCAPCut = d.Packets, d.More, d.PCAPCut
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{d.Lost, "packets were lost, as more came than could be read"},
		{d.Cut, "packets were seen in part only"},
		{d.Unsought, "packets were not searched, as more came than could be kept"},
		{d.Crowded, "connections were forgotten for others before their end"},
	} {
		if c.n > 0 {
			w.blinded(strconv.FormatUint(c.n, 10) + " " + c.what)
		}
	}
	if d.Failed != "" {
		w.blinded("the observer failed: " + d.Failed)
	}
}
