package main

import (
	"watertight/demo"
	"watertight/leaktest/watch"
)

// child plays the observer of packets, or one of the children of the demonstration, if this process is one: one of them is an
// ordinary client, with an ordinary resolver.
func child(args []string) (handled bool, code int) {
	watch.Child()
	return demo.Child(args)
}
