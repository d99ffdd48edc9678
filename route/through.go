package route

import (
	"watertight/channel"
	"watertight/event"
)

// Through gives a table with the same policy by which every host takes one channel, whatever the rules say.
func (t *Table) Through(c *channel.Channel) *Table {
	one := *t
	one.rules, one.defaulted = []Rule{{To: []Pattern{{text: "*", every: true}}, Channel: c}}, false
	return &one
}

// Unreported gives the same table for requests of which nobody is told: those of a test, which say nothing of any client.
func (t *Table) Unreported() *Table {
	same := *t
	same.sink = event.Discard{}
	return &same
}
