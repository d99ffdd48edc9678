//go:build !linux

package wire

// DontWait is nothing here: the kernel is waited for.
const DontWait = 0
