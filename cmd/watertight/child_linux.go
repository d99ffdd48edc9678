package main

import "watertight/demo"

// child plays one of the children of the demonstration, if this process is one: one of them is an ordinary client, with an
// ordinary resolver.
func child(args []string) (handled bool, code int) { return demo.Child(args) }
