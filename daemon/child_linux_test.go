package daemon

import (
	"watertight/contain"
	inside "watertight/leaktest/probe"
	"watertight/leaktest/watch"
)

// child makes the test binary what it was started as: the first process of a contained program's namespaces, the program that tries
// ways out from inside, or the observer of packets.
func child() {
	contain.Child()
	inside.Child()
	watch.Child()
}
