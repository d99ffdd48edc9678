package cli_test

import (
	"watertight/contain"
	"watertight/leaktest/watch"
)

// child makes the test binary the first process of a contained program's namespaces, or the observer of packets, if it was started for
// that.
func child() {
	contain.Child()
	watch.Child()
}
