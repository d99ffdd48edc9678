package gateway

import (
	"context"
	"errors"
	"net"
	"slices"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
	"watertight/upstream"
)

const (
	// maxAliases is how many records in AliasMode are followed (RFC 9460, section 3).
	maxAliases = 4
	// maxPlaces is how many servers of an origin are tried for one connection.
	maxPlaces = 4
	// lowPorts begin where a record cannot lead to a service of another kind, whose server would be sent a hello.
	lowPorts = 1024
)

// place is a server of an origin. Whoever is there has to prove that it is the origin.
type place struct {
	at   name.Target
	keys []byte // an ECHConfigList, with which alone it is spoken to; nil: none
	tcp  bool   // HTTP/1.1 or HTTP/2 is spoken there
	h3   bool
}

// found is what is known of an origin for one connection.
type found struct {
	places []place // the preferred first; at least one

	raw net.Conn // to the origin's own name and port, made beside the look-up; nil once it was taken
	err error    // why that could not be made
	// dialled says that one of both is there.
	dialled bool
}

// take gives the connection that stands there already for a server, or its error; ok says that there is one of both.
func (f *found) take(at, own name.Target) (conn net.Conn, err error, ok bool) {
	if at != own || !f.dialled {
		return nil, nil, false
	}
	f.dialled = false
	conn, f.raw = f.raw, nil
	return conn, f.err, true
}

// drop ends what was not taken.
func (f *found) drop() {
	if f.raw != nil {
		_ = f.raw.Close()
	}
}

// find finds out where the origin is, by its own records, asked in its channel. Its own name and port are dialled meanwhile,
// unless its records led elsewhere before, or to HTTP/3. The error is a [*fault.Error].
func (o *origin) find(ctx context.Context, r route.Request) (*found, error) {
	if o.known.leads.Load() {
		places, err := o.places(ctx, r)
		return &found{places: places}, err
	}
	type answer struct {
		places []place
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan answer, 1)
	go func() {
		places, err := o.places(ctx, r)
		asked <- answer{places, err}
	}()
	f := &found{dialled: true}
	f.raw, f.err = o.entry.Way.Dial(ctx, r, o.target)
	a := <-asked
	f.places = a.places
	if a.err != nil { // to go on without would be to show the name where it may have to be hidden (RFC 9460, section 3.1)
		f.drop()
		if f.err != nil {
			return nil, f.err
		}
		return nil, a.err
	}
	o.known.leads.Store(f.places[0].at != o.target || f.places[0].h3 && !o.entry.NoHTTP3)
	return f, nil
}

// places gives the servers of an origin that its own records (RFC 9460) name, and behind them its own name and port. Where
// any of the records has keys for Encrypted Client Hello, only servers with keys are given.
func (o *origin) places(ctx context.Context, r route.Request) ([]place, error) {
	own := place{at: o.target, tcp: true}
	host, named := o.target.Host().Name()
	if !named {
		return []place{own}, nil
	}
	q := dnswire.Question{Name: host, Type: dnswire.HTTPS}
	if port := o.target.Port(); port != httpsPort {
		q.Name = "_" + portText(port) + "._https." + host
	}
	base := o.target // by what a record names that names its own owner
	for range maxAliases + 1 {
		a, err := o.record(ctx, r, q)
		if err != nil {
			return nil, err
		}
		if a == nil { // behind an alias stands a server like any other
			if base != own.at {
				return []place{{at: base, tcp: true}, own}, nil
			}
			return []place{own}, nil
		}
		next, aliased := a.Alias()
		if !aliased {
			return o.services(a, base)
		}
		to, ok := elsewhere(next, o.target.Port())
		if !ok { // it says that the service is not there, which may be passed over (section 2.5.1), or names no host
			return []place{own}, nil
		}
		base, q.Name = to, next
	}
	return nil, o.hint("cannot be found: its records lead on and on", "tell the origin's operator: more than a few HTTPS records in AliasMode stand one behind another", nil)
}

// services gives the servers of the records of an answer in ServiceMode.
func (o *origin) services(a *dnswire.Answer, base name.Target) ([]place, error) {
	var all []place
	hides := false
	for _, s := range a.Services() {
		var keys []byte
		if s.ECH != nil && upstream.CheckECH(s.ECH) == nil {
			keys, hides = s.ECH, true
		}
		p := place{
			keys: keys, h3: slices.Contains(s.ALPN, "h3"),
			tcp: !s.NoDefault || slices.Contains(s.ALPN, "h2") || slices.Contains(s.ALPN, "http/1.1"),
		}
		port := o.target.Port()
		if s.Port != 0 {
			port = s.Port
		}
		if port != o.target.Port() && port != httpsPort && port < lowPorts || !p.h3 && !p.tcp {
			continue
		}
		target := s.Target
		if target == a.Canonical || target == a.Name { // its owner, whose addresses are those of the name that led here
			target, _ = base.Host().Name()
		}
		var ok bool
		if p.at, ok = elsewhere(target, port); ok {
			all = append(all, p)
		}
	}
	own := place{at: o.target, tcp: true}
	if hides {
		all = slices.DeleteFunc(all, func(p place) bool { return p.keys == nil })
		if len(all) == 0 {
			return nil, o.hint("asks for Encrypted Client Hello where it cannot be reached", "tell the origin's operator which port and which name its HTTPS record has", nil)
		}
	} else if !slices.ContainsFunc(all, func(p place) bool { return p.at == own.at && p.tcp }) {
		all = append(all[:min(len(all), maxPlaces-1)], own)
	}
	return all[:min(len(all), maxPlaces)], nil
}

// elsewhere gives the server that a record names. A name that could be taken for an address is none.
func elsewhere(host string, port uint16) (name.Target, bool) {
	h, err := name.ParseHost(host)
	if err != nil {
		return name.Target{}, false
	}
	if _, named := h.Name(); !named {
		return name.Target{}, false
	}
	t, err := name.New(h, port)
	return t, err == nil
}

// record asks for records of the origin; nil where there are none. An error means that they could not be had.
func (o *origin) record(ctx context.Context, r route.Request, q dnswire.Question) (*dnswire.Answer, error) {
	a, err := o.entry.Way.Ask(ctx, r, q)
	switch {
	case err != nil:
		var f *fault.Error
		if errors.As(err, &f) && (f.Code == fault.DNSNXDomain || f.Code == fault.DNSNoData) {
			return nil, nil
		}
		return nil, err
	case a == nil, a.RCode == dnswire.NXDomain:
		return nil, nil
	case a.RCode != dnswire.NoError:
		f := fault.New(fault.DNSServFail, "the record that says how "+o.target.Host().String()+" is to be reached could not be had", nil)
		f.RCode = dnswire.RCodeText(a.RCode)
		return nil, f
	}
	if _, aliased := a.Alias(); !aliased && len(a.Services()) == 0 {
		return nil, nil
	}
	return a, nil
}
