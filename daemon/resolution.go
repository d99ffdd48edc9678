package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"watertight/channel"
	"watertight/config"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
	"watertight/upstream"
	"watertight/wire"
)

// Resolution is how a name was resolved: the answer of `watertight resolve`. The field names are stable.
type Resolution struct {
	Name    string       `json:"name"`
	Channel string       `json:"channel"`
	Path    []string     `json:"path"` // the hops, first hop first, then the way to the resolver; no credentials
	Answers []Answer     `json:"answers"`
	TookMS  float64      `json:"took_ms"`
	Error   *AnswerError `json:"error,omitempty"` // where no question was asked
}

// Answer is the answer to one question.
type Answer struct {
	Type     string       `json:"type"`
	Records  []Record     `json:"records"`
	RCode    string       `json:"rcode,omitempty"`
	Resolver string       `json:"resolver,omitempty"` // empty where it was answered locally
	TookMS   float64      `json:"took_ms"`
	Error    *AnswerError `json:"error,omitempty"` // also where the answer is no: beside the RCode then
}

// Record is one record of an answer.
type Record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"`
	Data string `json:"data"`
}

// AnswerError is why there is no answer.
type AnswerError struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
	Hint    string     `json:"hint,omitempty"`
}

// Failed says that no question had an answer with a record.
func (r *Resolution) Failed() bool {
	for _, a := range r.Answers {
		if a.Error == nil && len(a.Records) > 0 {
			return false
		}
	}
	return true
}

// Resolve opens the channels of a configuration, asks the resolver of one of them, and closes them again. With an
// empty channel name the routes choose. What earlier runs kept is used, from the configuration's directory or else from
// state, and nothing is kept. The error is for a configuration that cannot be opened.
func Resolve(ctx context.Context, c *config.Config, state, channelName string, host name.Host, types []dnswire.Type, log *slog.Logger) (*Resolution, error) {
	ground, err := groundFor(c, wire.Dialer{})
	if err != nil {
		return nil, err
	}
	m, err := newDiary(stateDir(c, state), log)
	if err != nil {
		return nil, err
	}
	if m != nil {
		m.reads = true
	}
	return resolveOn(ctx, shared{ground: ground, floor: m.floor(), diary: m}, c, channelName, host, types)
}

// ResolveOn is Resolve over a ground that is given: an internet in memory, where this host's sockets are not meant.
// Nothing of earlier runs is used.
func ResolveOn(ctx context.Context, ground hop.Ground, c *config.Config, channelName string, host name.Host, types []dnswire.Type) (*Resolution, error) {
	return resolveOn(ctx, shared{ground: ground}, c, channelName, host, types)
}

func resolveOn(ctx context.Context, with shared, c *config.Config, channelName string, host name.Host, types []dnswire.Type) (*Resolution, error) {
	seen := &lookups{}
	with.sink = seen
	g, err := build(c, with, nil)
	if err != nil {
		return nil, err
	}
	g.start(ctx)
	defer g.discard(nil)
	started := time.Now()
	result := &Resolution{Name: host.String(), Path: []string{}, Answers: []Answer{}}
	through, err := choose(g, channelName, host)
	if err != nil {
		result.Error = answerError(err)
		return result, nil
	}
	result.Channel = through.Name()
	result.Path = path(g, through)
	result.Answers = make([]Answer, len(types))
	var asking sync.WaitGroup
	for i, t := range types {
		asking.Go(func() { result.Answers[i] = ask(ctx, g, through, host, t) })
	}
	asking.Wait()
	for i := range result.Answers {
		result.Answers[i].Resolver = seen.upstream(result.Answers[i].Type)
	}
	result.TookMS = milliseconds(time.Since(started))
	return result, nil
}

func choose(g *generation, channelName string, host name.Host) (*channel.Channel, error) {
	if channelName == "" {
		return g.table.Channel(host)
	}
	for _, r := range g.channels {
		if r.Name() == channelName {
			return r.Channel, nil
		}
	}
	return nil, fault.New(fault.PolicyRoute, "there is no channel "+channelName, nil)
}

// path lists the hops from this host to the end of a channel, each as text without credentials.
func path(g *generation, c *channel.Channel) []string {
	hops := []string{}
	for _, r := range g.channels {
		if r.Channel != c {
			continue
		}
		if r.over != nil {
			hops = path(g, r.over.Channel)
		}
		for _, p := range r.Spec().Proxies {
			hops = append(hops, p.String())
		}
		if w := r.Spec().WireGuard; w != nil {
			hops = append(hops, tunnelText(w))
		}
		if pool, ok := r.Pool(); ok {
			hops = append(hops, pool.Shown())
		}
	}
	return hops
}

// settle waits until the resolver of a channel was asked once, and gives its fault at once if it cannot answer. A hop
// or a resolver with a name needs the resolver of the channel underneath, and that one is asked first.
func settle(ctx context.Context, g *generation, c *channel.Channel) error {
	for _, r := range g.channels {
		if r.Channel != c || r.over == nil {
			continue
		}
		if !asksBelow(r.Spec()) {
			continue
		}
		if err := settle(ctx, g, r.over.Channel); err != nil {
			return err
		}
	}
	return c.Settle(ctx)
}

// asksBelow says whether something of a channel is known by its name, which the channel underneath has to look up.
func asksBelow(s channel.Spec) bool {
	named := func(p hop.Proxy) bool {
		_, named := p.Host.Name()
		return named
	}
	return slices.ContainsFunc(s.Proxies, named) || s.Pool != nil && slices.ContainsFunc(s.Pool.Members, named) ||
		s.WireGuard != nil && len(s.WireGuard.Endpoints()) > 0 ||
		slices.ContainsFunc(s.Resolver.Upstreams, func(u upstream.Upstream) bool { return u.Named.IsValid() })
}

func ask(ctx context.Context, g *generation, c *channel.Channel, host name.Host, t dnswire.Type) Answer {
	q := dnswire.Question{Name: host.String(), Type: t}
	if a, ok := host.Addr(); ok {
		q = dnswire.Question{Name: dnswire.ReverseName(a), Type: dnswire.PTR}
	}
	started := time.Now()
	var found *dnswire.Answer
	var err error
	if !c.IsLocal(q) {
		err = settle(ctx, g, c)
	}
	if err == nil {
		found, err = c.Exchange(ctx, q)
	}
	answer := Answer{Type: q.Type.String(), Records: []Record{}, TookMS: milliseconds(time.Since(started))}
	if err != nil {
		answer.Error = answerError(err)
		return answer
	}
	answer.RCode = dnswire.RCodeText(found.RCode)
	if f := resolve.Verdict(found); f != nil {
		answer.Error = answerError(f)
	}
	for _, r := range found.Records {
		answer.Records = append(answer.Records, Record{Name: r.Name, Type: r.Type.String(), TTL: r.TTL, Data: r.Text()})
	}
	return answer
}

func answerError(err error) *AnswerError {
	f := fault.Of(err)
	return &AnswerError{Code: f.Code, Message: f.Message, Hint: f.NextStep()}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// lookups remembers which upstream answered a question of each type.
type lookups struct {
	event.Discard
	mu   sync.Mutex
	from map[string]string
}

func (l *lookups) Lookup(e *event.Lookup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		l.from = make(map[string]string)
	}
	if e.Upstream != "" {
		l.from[e.Type] = e.Upstream
	}
}

func (l *lookups) upstream(typ string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from[typ]
}
