package route

import "watertight/channel"

// shut says why a request that the policy allows does not go out now, or nil. What is answered without anybody being asked is
// answered all the same.
func (t *Table) shut(c *channel.Channel, r Request) error {
	if t.closed == nil {
		return nil
	}
	err := t.closed(func() []string { return t.namesOf(r) })
	if err == nil {
		return nil
	}
	if host, named := r.Target.Host().Name(); r.Target.IsValid() && named {
		if _, _, local := c.Local(host); local {
			return nil
		}
	}
	return err
}

// namesOf gives the names that a request is about; none where it is about an address that was given out for none.
func (t *Table) namesOf(r Request) (names []string) {
	if !r.Target.IsValid() {
		return nil
	}
	addr, isAddr := r.Target.Host().Addr()
	if !isAddr {
		host, _ := r.Target.Host().Name()
		return []string{host}
	}
	for _, g := range t.GivenFor(r.Client.Addr(), addr) {
		names = append(names, g.Host.String())
	}
	return names
}
