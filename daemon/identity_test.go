package daemon

import (
	"testing"

	"watertight/client"
	"watertight/dnswire"
	"watertight/event"
	"watertight/lab/memory"
	"watertight/route"
)

// as is a request for a target by a client with a name.
func as(username, target string) route.Request {
	r := request(target)
	var err error
	if r.Identity, err = client.Parse(username); err != nil {
		panic(err)
	}
	return r
}

// reachesAs wants a request of a client with a name to succeed.
func (w *world) reachesAs(username, target, want string) {
	w.t.Helper()
	conn, err := w.g.table.Dial(w.t.Context(), as(username, target))
	if err != nil {
		w.t.Errorf("%s: %v", target, err)
		return
	}
	defer conn.Close()
	w.talks(conn, want)
}

func TestIdentitiesAreNotLinked(t *testing.T) {
	for _, way := range []way{straight, bySOCKS, byChain} {
		for _, k := range transports {
			t.Run("F1 F6 "+string(way)+" "+string(k), func(t *testing.T) {
				inWorld(t, way, k, func(w *world) {
					w.ready(w.text())
					names := []string{"alice", "bob", "alice-session-1", "alice-session-2"}
					for range 2 {
						for _, username := range names {
							w.reachesAs(username, target, "origin")
						}
					}
					if n := w.own.Count(hostName, dnswire.A); n != len(names) {
						w.t.Errorf("asked %d times, want once for each of %d identities", n, len(names))
					}
					conns := map[int]bool{}
					for _, q := range w.own.Log() {
						if q.Question.Name == hostName && q.Question.Type == dnswire.A {
							conns[q.Conn] = true
						}
						if q.Resumed {
							w.t.Error("a session was resumed across identities")
						}
					}
					if len(conns) != len(names) {
						w.t.Errorf("%d connections for %d identities", len(conns), len(names))
					}
					for _, r := range w.g.channels {
						if n := r.Partitions(); n != len(names) {
							w.t.Errorf("channel %s works for %d identities", r.Name(), n)
						}
					}
				})
			})
		}
	}
	t.Run("F1 a reload takes the partitions of a channel that is the same, and no other", func(t *testing.T) {
		inWorld(t, bySOCKS, dot, func(w *world) {
			w.ready(w.text())
			w.reachesAs("alice", target, "origin")
			w.ready(w.text())
			w.reachesAs("alice", target, "origin")
			if n := w.own.Count(hostName, dnswire.A); n != 1 {
				w.t.Errorf("asked %d times over a reload that changed nothing", n)
			}
			w.ready(w.text("timeout: 4s"))
			w.reachesAs("alice", target, "origin")
			if n := w.own.Count(hostName, dnswire.A); n != 2 {
				w.t.Errorf("asked %d times, and the channel is another", n)
			}
		})
	})
	t.Run("F1 an address is looked up for who asks", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			w.ready(w.text())
			r := as("alice", originAt.String())
			r.Door = event.DoorResolve
			_, _ = w.g.table.ResolvePTR(w.t.Context(), r) // it has no name
			hers, others := map[int]bool{}, map[int]bool{}
			for _, q := range w.own.Log() {
				if q.Question.Type == dnswire.PTR {
					hers[q.Conn] = true
				} else if q.Question.Name == "" && len(others) == 0 {
					others[q.Conn] = true // the channel's own, to become ready
				}
			}
			for conn := range hers {
				if others[conn] {
					w.t.Error("she asked over nobody's connection")
				}
			}
			if n := w.g.channels[0].Partitions(); n != 1 || len(hers) != 1 {
				w.t.Errorf("%d partitions, and she asked over %d connections", n, len(hers))
			}
		})
	})
	t.Run("B1 what fails for an identity fails, though the channel itself knows the answer", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			w.ready(w.text())
			w.reaches(target, "origin")
			w.reachesAs("alice", target, "origin")
			w.own.Fail(memory.Fault{Gone: true})
			if _, err := w.g.table.Dial(w.t.Context(), as("bob", target)); err == nil {
				w.t.Error("bob was given an answer of somebody else's")
			}
		})
	})
}
