//go:build !linux

package main

// child says that this process is no child of the demonstration, which only Linux has.
func child([]string) (handled bool, code int) { return false, 0 }
