package leaktest

import "context"

// tryCounters looks whether something of the program went where its own traps are, while everything was tried.
func tryCounters(_ context.Context, r *run, f *findings) {
	now := r.o.Subject.Counters()
	const fix = "this is a fault of the program: report it with this report"
	if n := now.TrappedLookups; n > 0 {
		f.leak("A2", fix, "%d look-ups were stopped on their way to the host's resolver, %d of them during this test", n, n-r.before.TrappedLookups)
	} else {
		f.held("nothing of this process has asked the host's resolver since it began")
	}
	if n := now.RefusedDials - r.before.RefusedDials; n > 0 {
		f.note("%d connections to ports on which names travel in clear text were refused", n)
	}
}
