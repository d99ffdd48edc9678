package transport

import (
	"time"

	"watertight/dnswire"
)

// maxPrompt is how many questions may be under way on a connection that takes another without anyone waiting: so few
// fit into what the kernel holds for a far side that has stopped reading.
const maxPrompt = 64

// Begin is Ask for one who does not wait: where a connection is at hand that can take the question at once, it is sent, and
// then is called once with the reply or with why there is none by that time, perhaps before Begin returns. It runs in the
// goroutine that reads replies, which must not wait for anything. broke says that the connection broke under the question, which
// may be asked anew. Begin says false where it did nothing and Ask is to be asked.
func (c *Client) Begin(until time.Time, q dnswire.Question, then func(a *dnswire.Answer, fail *Failure, broke bool)) bool {
	if !c.links.enter() {
		return false
	}
	s, link := c.links.takePrompt()
	if s == nil {
		c.wg.Done()
		return false
	}
	started := c.now()
	refused := link.send(until, q, func(a *dnswire.Answer, fail *Failure) {
		defer c.wg.Done()
		late := fail != nil && !fail.broken && !fail.Final // of this way of asking, nothing else is neither
		broke := c.book(s, started, fail, late, false)
		if !broke {
			c.health.sent()
		}
		if fail == nil {
			c.notice.look()
		}
		then(a, fail, broke)
	})
	if refused != nil {
		defer c.wg.Done()
		c.links.give(s, false)
		return false // Ask meets the same, or finds another connection
	}
	return true
}

// takePrompt gives a connection that is at hand and takes a question without anyone waiting, and books the question on it.
func (p *links) takePrompt() (*slot, prompt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil
	}
	s := p.pick(0)
	if s == nil || s.inFlight >= maxPrompt {
		return nil, nil
	}
	link, ok := s.link.(prompt)
	if !ok {
		return nil, nil
	}
	s.inFlight++
	s.idle.Stop()
	return s, link
}
