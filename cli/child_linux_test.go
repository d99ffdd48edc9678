package cli_test

import (
	"watertight/contain"
	"watertight/leaktest/probe"
	"watertight/leaktest/watch"
)

// child makes the test binary the first process of a contained program's namespaces, the observer of packets, or the program that
// tries ways out from inside, if it was started for that.
func child() {
	contain.Child()
	watch.Child()
	probe.Child()
}
