package leaktest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"watertight/visit"
)

// Users is a [Subject] with routes for some users.
type Users interface {
	// Users gives a user for each word of the routes that says for whom they are. He need not exist.
	Users() []User
	// LeadsAs is Leads for a user. The error is for a way that the test cannot take as he does, too.
	LeadsAs(user, host string) (channel string, err error)
}

// User is one with routes of his own.
type User struct {
	Name string // which is not shown
	Of   string // the route, for people
}

// maxUsers bounds as whom the test comes in one run.
const maxUsers = 16

// tryNamesByUser comes in by every door with the routes of users, in each way that has room to say so.
func tryNamesByUser(ctx context.Context, r *run, f *findings) {
	var users []User
	subject, ok := r.o.Subject.(Users)
	if ok {
		users = subject.Users()
	}
	if len(users) == 0 {
		f.skip("no route has a `user`")
		return
	}
	host := "a." + r.o.Canary.Zone
	nobody, _ := r.o.Subject.Leads(host) // empty: nowhere
	var trying sync.WaitGroup
	places := make(chan struct{}, together)
	seen := map[string]bool{}
	for _, u := range users {
		channel, err := subject.LeadsAs(u.Name, host)
		switch {
		case seen[u.Name]:
			continue
		case err != nil:
			f.skip("%s, for names of the canary: %s", u.Of, clean(err.Error()))
		case r.known[channel] == nil:
			f.skip("%s: the channel %s is not known", u.Of, channel)
		case len(seen) >= maxUsers:
			f.skip("%s: the test comes with the routes of %d users, and of no more", u.Of, maxUsers)
		default:
			seen[u.Name] = true
			r.byUser(ctx, u, channel, channel == nobody, f, func(do func()) {
				trying.Go(func() {
					defer guard(f)
					places <- struct{}{}
					defer func() { <-places }()
					do()
				})
			})
		}
	}
	trying.Wait()
}

// byUser comes in by every door as one user. same says that who has no name takes the same channel.
func (r *run) byUser(ctx context.Context, u User, channel string, same bool, f *findings, later func(func())) {
	who := "a user of " + u.Of
	if same {
		who += " (by the channel of who has no name)"
	}
	for _, d := range append(r.doorsOf(DoorProxy, f), r.doorsOf(DoorGateway, f)...) {
		if d.As == nil {
			f.skip("%s %s, as %s: it cannot be told for whom the test comes", d.Kind, d.At, who)
			continue
		}
		as, err := d.As(u.Name)
		if err != nil {
			f.doubt(fixAgain, "%s, as %s: %v", d.At, who, err)
			continue
		}
		if d.Kind == DoorGateway {
			later(func() { r.gatewayAs(ctx, as, who, f) })
			continue
		}
		f.need()
		for _, e := range entrancesOf(as, f) {
			later(func() { r.enterAs(ctx, as, e, channel, who, f) })
		}
		if ways := as.sendings(); len(ways) > 0 {
			later(func() { r.sendDatagram(ctx, as, ways[0], channel, "as "+who, f) })
		}
	}
}

// enterAs asks for fresh names by one way in, in each family.
func (r *run) enterAs(ctx context.Context, d Door, e entrance, channel, who string, f *findings) {
	reached := false
	for _, family := range families {
		label, host := r.name(family.branch)
		v := visited{label: label, channel: channel, what: fmt.Sprintf("%s by %s, %s only, as %s", d.At, e.name, family.branch, who), cause: causeOf(family.kind)}
		if r.reach(ctx, channel, f, v, func(ctx context.Context) (net.Conn, error) { return enterNamed(ctx, d, e, host, r.api.port) }) {
			reached = true
		}
	}
	if !reached {
		f.doubt(fixConnect, "%s by %s, as %s: no connection came to the canary", d.At, e.name, who)
	}
}

// gatewayAs asks the generic form of a gateway for a fresh name.
func (r *run) gatewayAs(ctx context.Context, d Door, who string, f *findings) {
	if d.Generic == nil {
		return
	}
	label, host := r.name(visit.V4)
	what := fmt.Sprintf("gateway %s, asked for /https/NAME/, as %s", d.At, who)
	channel, err := d.Generic(host, r.api.port)
	if err != nil || r.known[channel] == nil {
		f.skip("%s: it leads nowhere for names of the canary", what)
		return
	}
	r.mu.Lock()
	r.shown[label] = channel
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, doorLimit+time.Second)
	defer cancel()
	r.throughGateway(ctx, d, visited{label: label, channel: channel, what: what}, host, f)
}
