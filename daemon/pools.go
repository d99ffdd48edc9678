package daemon

import (
	"context"
	"os"
	"time"

	"watertight/config"
	"watertight/control"
	"watertight/hop"
	"watertight/metrics"
)

// filesEvery is how often lists of proxies, and files with certificates, are looked at for a change.
const filesEvery = 3 * time.Second

// renew gives the pools of a generation the members that its configuration has: those of a channel that was taken over may be
// others. It is called when the generation is in force.
func (d *Daemon) renew(g *generation) {
	for _, r := range g.channels {
		if ch, ok := g.config.Channel(r.Name()); ok && ch.Pool != nil {
			d.setMembers(r, ch.Pool.Spec.Members)
		}
	}
}

func (d *Daemon) setMembers(r *running, members []hop.Proxy) {
	if err := r.SetMembers(members); err != nil {
		d.o.Log.Error("the members of a pool could not be changed; they stay as they were", "channel", r.Name(), "error", err)
	}
}

// stamp is what a file looks like from outside.
type stamp struct {
	size int64
	at   time.Time
	mode os.FileMode
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // a pipe has nothing to read again
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), info.Mode()}
}

// watchFiles reads a pool's list and the certificates of listeners again when they change, until ctx ends. What is bad changes
// nothing.
func (d *Daemon) watchFiles(ctx context.Context) {
	known := map[string]stamp{}
	for {
		d.rereadLists(known)
		d.rereadCertificates()
		select {
		case <-time.After(filesEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (d *Daemon) rereadLists(known map[string]stamp) {
	d.reloading.Lock() // a reload reads the same files
	defer d.reloading.Unlock()
	g := d.current()
	if g == nil {
		return
	}
	for _, r := range g.channels {
		ch, ok := g.config.Channel(r.Name())
		if !ok || ch.Pool == nil || ch.Pool.Spec.List == "" {
			continue
		}
		path := ch.Pool.Spec.List
		now := stampOf(path)
		before, seen := known[r.Name()+"\x00"+path]
		known[r.Name()+"\x00"+path] = now
		if seen && now == before || now == (stamp{}) {
			continue
		}
		members, err := ch.Pool.Read(config.ThisHost())
		if err != nil {
			d.o.Log.Error("the list of a pool has changed and is not used; the members stay as they were", "channel", r.Name(), "error", err)
			continue
		}
		d.setMembers(r, members)
		if seen {
			d.o.Log.Info("the list of a pool has changed, and was read again", "channel", r.Name(), "members", len(members))
		}
	}
}

// poolOf is how the pool of a channel does, for the control surface; nil where it has none.
func poolOf(r *running) *control.Pool {
	stats, ok := r.PoolStats()
	if !ok {
		return nil
	}
	spec, _ := r.Pool()
	p := &control.Pool{
		Pick: string(spec.Pick), Members: len(stats.Members), Usable: stats.Usable, Stuck: stats.Stuck, Refused: stats.Refused,
		List: []control.Member{},
	}
	if spec.By != hop.ByNothing {
		p.StickyBy, p.StickySeconds = string(spec.By), int64(spec.For.Seconds())
	}
	for _, m := range stats.Members {
		p.List = append(p.List, control.Member{
			Index: m.Index + 1, Host: m.Host, Scheme: m.Scheme, Usable: m.Usable, Open: m.Open, Dials: m.Dials, Failures: m.Failures,
			LastError: m.Why, RetrySeconds: m.Retry.Seconds(), LatencyMS: float64(m.Latency.Microseconds()) / 1000,
		})
	}
	return p
}

// poolMetrics is how the pool of a channel does, for the metrics.
func poolMetrics(r *running) (members []metrics.MemberState, refused uint64) {
	stats, ok := r.PoolStats()
	if !ok {
		return nil, 0
	}
	for _, m := range stats.Members {
		members = append(members, metrics.MemberState{Host: m.Host, Usable: m.Usable, Dials: m.Dials, Failures: m.Failures})
	}
	return members, stats.Refused
}
