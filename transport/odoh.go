package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"watertight/odoh"
)

const (
	// odohConfigs is where targets have their key, in the format of RFC 9230, section 5.
	odohConfigs = "/.well-known/odohconfigs"
	// odohKeyAge is how long a target's key is used before it is fetched again.
	odohKeyAge = time.Hour
)

// odohOpener opens connections to a relay of Oblivious DNS over HTTPS (RFC 9230). The target is known by its name alone:
// there is no address of it that could be dialled.
type odohOpener struct {
	*secure
	ask, key *url.URL // at the relay, for the target
}

func newODoH(c *Client) (opener, error) {
	if c.up.Relay == "" || c.up.TargetPath == "" {
		return nil, errors.New("ODoH without a relay or a target")
	}
	s, err := newSecure(c, protocol{alpn: []string{"h2", "http/1.1"}, name: "HTTP/2 or HTTP/1.1"})
	if err != nil {
		return nil, err
	}
	at, err := url.Parse("https://" + c.up.Relay + c.up.Path)
	if err != nil {
		return nil, err
	}
	to := func(path string) *url.URL {
		u := *at // the template of the relay with its two variables (section 4.1)
		u.RawQuery = url.Values{"targethost": {c.up.Host}, "targetpath": {path}}.Encode()
		return &u
	}
	return &odohOpener{s, to(c.up.TargetPath), to(odohConfigs)}, nil
}

// open connects to the relay, and fetches the target's key through it.
func (o *odohOpener) open(ctx context.Context) (link, *Failure) {
	conn, fail := o.connect(ctx)
	if fail != nil {
		return nil, fail
	}
	over, fail := newHTTPConn(ctx, o.c, conn)
	if fail != nil {
		return nil, fail
	}
	l := &odohLink{httpConn: over, o: o, turn: make(chan struct{}, 1)}
	if _, fail := l.current(ctx, nil); fail != nil {
		over.close()
		return nil, fail
	}
	return l, nil
}

// odohKey is a target's key, with the moment at which it was asked for.
type odohKey struct {
	*odoh.Config
	since time.Time
}

// current gives the target's key: another than the one that the target no longer has, if there is one, and none that
// is too old. One question at a time fetches it, through the relay; the others wait for that.
func (l *odohLink) current(ctx context.Context, not *odohKey) (*odohKey, *Failure) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, l.o.c.timeout(ctx.Err())
	}
	now := l.o.c.now()
	if k := l.key; k != nil && k != not && now.Sub(k.since) < odohKeyAge {
		return k, nil
	}
	body, _, fail := l.roundTrip(ctx, &http.Request{Method: http.MethodGet, URL: l.o.key}, "", odoh.MaxConfigs)
	if fail != nil {
		return nil, fail
	}
	config, err := odoh.ParseConfigs(body)
	if err != nil {
		return nil, l.o.c.unreachable("has no key that can be used", err)
	}
	l.key = &odohKey{config, now}
	return l.key, nil
}
