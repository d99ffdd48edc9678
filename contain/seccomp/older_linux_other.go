//go:build linux && !amd64

package seccomp

// older are calls that younger architectures have no number for, and olderFiles those of them that look for files.
var older, olderFiles []uint32
