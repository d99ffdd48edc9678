package leaktest

import "context"

// tryCounters looks whether something of the program went where its own traps are, while everything was tried.
func tryCounters(ctx context.Context, r *run, f *findings) {
	now := r.o.Subject.Counters()
	const fix = "this is a fault of the program: report it with this report"
	switch n := now.TrappedLookups; {
	case n > 0 && n == r.before.TrappedLookups && !r.about.Running: // nobody had asked for anything then
		f.leak("C1", fix, "%d look-ups were stopped on their way to the host's resolver while the program started, before any request", n)
	case n > 0:
		f.leak("A2", fix, "%d look-ups were stopped on their way to the host's resolver, %d of them during this test", n, n-r.before.TrappedLookups)
	default:
		f.held("nothing of this process has asked the host's resolver since it began")
	}
	if n := now.RefusedDials - r.before.RefusedDials; n > 0 {
		f.note("%d connections to ports on which names travel in clear text were refused", n)
	}
	if g, ok := r.guardNow(ctx); ok && r.guarded.err == nil {
		f.note("the guard refused while the test ran: %s", g.Refused.since(r.guarded.before.Refused).inWords())
	}
}
