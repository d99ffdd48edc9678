package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"watertight/contain"
	"watertight/event"
	"watertight/front/contained"
	"watertight/leaktest"
	inside "watertight/leaktest/probe"
	"watertight/relay"
	"watertight/route"
)

var _ leaktest.Container = subject{}

// insideLimit bounds the program inside, from its namespaces on.
const insideLimit = 45 * time.Second

// maxDevices bounds the interfaces that are tried.
const maxDevices = 32

// maxInside bounds what of it is carried at one time.
const maxInside = 128

// Inside has this program try ways out from inside of a network that leads to the channels alone.
func (s subject) Inside(ctx context.Context, host string) ([]leaktest.Tried, error) {
	policy := s.d.current().config.Policy
	spec := inside.Spec{
		Name: host, ForeignRefused: policy.ForeignResolvers == route.Refuse, LiteralRefused: policy.Contained == route.Refuse, Devices: devices(),
	}
	input, err := spec.Input()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, insideLimit)
	defer cancel()
	report, complaint := &bounded{most: inside.MaxReport}, &bounded{most: 4 << 10}
	if err := s.d.carryInside(ctx, contain.Streams{In: bytes.NewReader(input), Out: report, Err: complaint}); err != nil {
		if text := strings.TrimSpace(complaint.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		if not, ok := errors.AsType[*contain.NotStarted](err); ok && not.Code == contain.ExitUncontained {
			err = fmt.Errorf("%w: %w", leaktest.ErrUncontained, err)
		}
		return nil, err
	}
	outcomes, err := inside.Parse(report.Bytes())
	if err != nil {
		return nil, err
	}
	var all []leaktest.Tried
	for _, o := range outcomes {
		all = append(all, tried(o))
	}
	return all, nil
}

// tried says what an outcome shows.
func tried(o inside.Outcome) leaktest.Tried {
	t := leaktest.Tried{Kind: o.ID, What: o.What, Result: string(o.Result), Held: o.Held}
	if o.To != "" {
		t.What += ", " + o.To
	}
	for _, said := range []string{o.Errno, o.Said} {
		if said != "" {
			t.Result += ", " + said
		}
	}
	t.Open = !o.Held && (o.Result == inside.Answered || o.Result == inside.Elsewhere)
	return t
}

// devices are the interfaces of this host that a program inside must not find.
func devices() (names []string) {
	faces, _ := net.Interfaces() // without them, those that most hosts have are tried
	for _, f := range faces {
		if f.Flags&net.FlagLoopback == 0 && len(names) < maxDevices {
			names = append(names, f.Name)
		}
	}
	return names
}

// carryInside runs this program inside, and waits for its end. The channels carry it as they carry guests, and it is not counted.
func (d *Daemon) carryInside(ctx context.Context, streams contain.Streams) error {
	if err := answered(ctx, d.current(), ""); err != nil {
		return err
	}
	program, err := contain.BeginWith([]string{contain.Self, inside.Argument}, nil, contain.Setup{Dir: "/"}, streams)
	if err != nil {
		return err
	}
	defer program.Close()
	defer context.AfterFunc(ctx, program.Kill)()
	sockets, err := program.Sockets(ctx)
	if err != nil {
		return err
	}
	defer sockets.Close()
	door, err := contained.New(contained.Options{
		Board: &guestBoard{board: &d.board, test: true, told: new(event.Tally)}, Relay: relay.Pipe, Sink: event.Discard{}, Logger: slog.New(slog.DiscardHandler),
		Connections: maxInside, Flows: maxInside, NoIPv6: sockets.TCP6 == nil,
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(serving, socketsFor(sockets, program.ReplyFrom)) }()
	defer func() {
		stop()
		<-ended
	}()
	if _, err := reachable(ctx, program, nil, sockets.TCP6 != nil); err != nil { // a first question, as for every program
		return err
	}
	if err := program.Start(ctx); err != nil {
		return err
	}
	status, err := program.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case status.ExitStatus() != 0:
		return errors.New("the program inside failed")
	}
	return nil
}

// bounded keeps no more than so much of what is written to it.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, errors.New("it wrote more than can be read")
	}
	return b.Buffer.Write(p)
}
