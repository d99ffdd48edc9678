package transport

import "context"

// Warm sees to it that there is a connection, and asks nothing.
func (c *Client) Warm(ctx context.Context) *Failure {
	if !c.links.enter() {
		return closed()
	}
	defer c.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	s, fail := c.links.take(ctx, 0)
	if fail != nil {
		return fail
	}
	c.links.give(s, false)
	return nil
}
