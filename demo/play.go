package demo

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// play plays the three acts and writes what came of them.
func play(ctx context.Context, p plan, out io.Writer) (err error) {
	start := time.Now()
	s, err := newStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	show := newScreen(out, p)
	show.opening(s)
	r := &report{}

	if p.Sabotage == mutedProvider {
		s.hosts = s.api.Addr4.String() + " " + strings.Join(calls(), " ") + "\n"
	}
	ordinary, err := s.observe(ctx, "ordinary", "", nothing)
	if err != nil {
		return err
	}
	ordinary.judgeOrdinary()
	r.Acts = append(r.Acts, ordinary)
	show.ordinary(ordinary)

	sealed, err := playSealed(ctx, s, p, show)
	if err != nil {
		return err
	}
	r.Acts = append(r.Acts, sealed)

	// Answers live for a second: when it has passed, the next call needs the resolver.
	show.cutting()
	select {
	case <-time.After(outlive):
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.Sabotage != openResolver {
		_ = s.resolver.Close()
	}
	closed, err := s.observe(ctx, "cut_off", proxyAddress, func() error {
		if p.Sabotage == partingWord {
			return s.askTheProvider()
		}
		s.StopPrograms() // what the proxy sends while it ends belongs to the act
		return nil
	})
	if err != nil {
		return err
	}
	closed.judgeClosed()
	r.Acts = append(r.Acts, closed)
	show.closed(closed)

	r.conclude(time.Since(start))
	if p.JSON {
		err = r.writeJSON(out)
	} else {
		show.table(r)
		err = show.err
	}
	if err == nil && r.Verdict != verdictHeld {
		err = ErrNotHeld
	}
	return err
}

func nothing() error { return nil }

// outlive is longer than the second for which the stage's answers may be kept.
const outlive = 1500 * time.Millisecond

// playSealed starts the proxy, which runs on until the internet ends, and lets the client call through it. What the
// proxy sends while it starts belongs to the act.
func playSealed(ctx context.Context, s *stage, p plan, show *screen) (*act, error) {
	show.starting()
	start := s.startWatertight
	if p.Sabotage == leakyProxy {
		start = s.startSaboteur
	}
	if _, err := start(ctx); err != nil {
		return nil, err
	}
	show.started()
	a, err := s.observe(ctx, "watertight", proxyAddress, nothing)
	if err != nil {
		return nil, err
	}
	a.judgeSealed()
	show.sealed(a)
	return a, nil
}

func (a *act) claim(held bool, what string) {
	if !held {
		a.Failures = append(a.Failures, what)
	}
}

// judgeOrdinary: if the provider reads nothing here, its silence later proves nothing.
func (a *act) judgeOrdinary() {
	a.claim(a.Answered == a.Calls && a.Reason == "", "the API answers the ordinary client")
	for _, name := range calls() {
		a.claim(slices.ContainsFunc(a.Read, func(q string) bool { return q == name+" A" }), "the provider reads the question for "+name)
	}
	a.claim(a.AskedISP > 0, "the provider's resolver is asked")
	a.claim(a.Named > 0, "the names are found in packets")
	a.claim(slices.Contains(a.Askers, "the provider"), "the authority is asked by the provider")
}

func (a *act) judgeSealed() {
	a.claim(a.Answered == a.Calls && a.Reason == "", "the API answers through Watertight")
	a.claimNothingRead()
	a.claim(len(a.Askers) == 1 && a.Askers[0] == "the encrypted resolver", "the authority is asked by the encrypted resolver alone")
}

func (a *act) judgeClosed() {
	a.claim(a.Answered == 0, "no call arrives")
	a.claim(a.Code == "RESOLVER_UNREACHABLE" || a.Code == "DNS_TIMEOUT", "the client is told that the resolver is gone")
	a.claimNothingRead()
	a.claim(len(a.Askers) == 0, "the authority is asked by nobody")
}

func (a *act) claimNothingRead() {
	a.claim(a.Packets > 0, "there are packets to look at")
	a.claim(len(a.Read) == 0, "the provider reads no DNS question")
	a.claim(a.AskedISP == 0, "the provider's resolver is not asked")
	a.claim(a.namedAnywhere == 0, "no packet holds a name")
	a.claim(a.strangeAnywhere == 0, "packets go to the resolver and the API alone")
}
