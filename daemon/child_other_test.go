//go:build !linux

package daemon

func child() {}
