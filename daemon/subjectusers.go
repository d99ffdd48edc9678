package daemon

import (
	"fmt"
	"slices"

	"watertight/client"
	"watertight/gate"
	"watertight/leaktest"
	"watertight/name"
)

var _ leaktest.Users = subject{}

// Users gives a user for each word of the routes that says for whom they are.
func (s subject) Users() (all []leaktest.User) {
	for i, r := range s.d.current().config.Routes {
		for _, p := range r.Users {
			user := p.Example(anybody)
			if gate.CheckUser(user) != nil || slices.ContainsFunc(all, func(u leaktest.User) bool { return u.Name == user }) {
				continue
			}
			all = append(all, leaktest.User{Name: user, Of: fmt.Sprintf("route %d", i+1)})
		}
	}
	return all
}

// anybody is a user whom a pattern with a star means, without what it begins with.
const anybody = "somebody"

// trial is an identity as a pass has one: what it may be used for does not depend on the word.
const trial = "trial"

// LeadsAs gives the channel that a name takes for a user.
func (s subject) LeadsAs(user, host string) (string, error) {
	h, err := name.ParseHost(host)
	if err != nil {
		return "", err
	}
	g := s.d.board.acquire()
	defer g.release()
	return g.table.LeadsAs(h, client.Identity{User: user, Trial: trial})
}

// as gives a door as the test comes in by it with the routes of a user: by its pass, also where nothing is asked for.
func (s subject) as(door leaktest.Door, w wayIn) func(user string) (leaktest.Door, error) {
	w.pass = s.pass
	return func(user string) (leaktest.Door, error) {
		c, err := s.pass.As(user)
		if err != nil {
			return leaktest.Door{}, err
		}
		one := door
		one.As, one.Proof = nil, leaktest.Proof{User: c.Username, Password: c.Password}
		if door.Dial != nil {
			one.Dial = w.dial
		}
		if door.QUIC != nil {
			one.QUIC = w.quic
		}
		if door.Generic != nil {
			one.Generic = func(host string, port uint16) (string, error) {
				return s.leadsGenericAs(host, port, func() (string, error) { return s.LeadsAs(user, host) })
			}
		}
		return one, nil
	}
}
