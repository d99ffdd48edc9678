package main

import (
	"watertight/demo"
	"watertight/leaktest/probe"
	"watertight/leaktest/watch"
)

// child plays the observer of packets, the program that tries ways out from inside, or one of the children of the demonstration, if this process is one: one of them is an
// ordinary client, with an ordinary resolver.
func child(args []string) (handled bool, code int) {
	watch.Child()
	probe.Child()
	return demo.Child(args)
}
