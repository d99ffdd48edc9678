package cli_test

import "watertight/contain"

// child makes the test binary the first process of a contained program's namespaces, if it was started for that.
func child() { contain.Child() }
