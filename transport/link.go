package transport

import (
	"context"
	"errors"
	"time"

	"watertight/clock"
	"watertight/dnswire"
	"watertight/upstream"
)

// link is one warm connection to an upstream.
type link interface {
	exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure)
	room() bool            // another question fits on, as far as the far side says
	done() <-chan struct{} // closed when the connection has ended
	close()
}

// prompt is a link over which one can ask without waiting.
type prompt interface {
	link
	// send sends a question, and gives the reply, or why there is none by a certain time, to then: once, and perhaps before it
	// returns. then must not wait for anything. Where send itself gives a failure, nothing was sent and then is not called.
	send(until time.Time, q dnswire.Question, then func(*dnswire.Answer, *Failure)) *Failure
}

// opener is how a Client reaches an upstream of one kind. What it starts, it starts with the Client's wg.
type opener interface {
	// open makes a new connection: the only way to get one, first or later.
	open(ctx context.Context) (link, *Failure)
	// forget drops what would link a connection that comes with one that was: the sessions of TLS, keys.
	forget()
}

// openers makes the opener of each kind of upstream: the one place that tells kinds apart.
var openers = map[upstream.Kind]func(*Client) (opener, error){
	upstream.DoH:  newDoH,
	upstream.DoH3: newDoH3,
	upstream.DoT:  newDoT,
	upstream.DoQ:  newDoQ,

	upstream.DNSCrypt: newDNSCrypt,
	upstream.ODoH:     newODoH,

	upstream.Plain: newPlain,
}

// open makes a new connection by a clock that may be right.
func (c *Client) open(ctx context.Context) (link, *Failure) {
	var behind *clock.Behind
	if err := c.options.Floor.Check(c.now()); errors.As(err, &behind) {
		return nil, c.untrusted(behind.Error(), behind.Hint, err)
	}
	return c.opener.open(ctx)
}
