package route

import "watertight/channel"

// Through gives a table with the same policy by which every host takes one channel, whatever the rules say.
func (t *Table) Through(c *channel.Channel) *Table {
	one := *t
	one.rules, one.defaulted = []Rule{{To: []Pattern{{text: "*", every: true}}, Channel: c}}, false
	return &one
}
