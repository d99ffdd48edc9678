// Package seccomp writes the filter of system calls that a contained program lives under (seccomp(2)): what it may
// ask of the kernel is everything but the ways past its network and its files. It writes the one of a process that reads
// packets, too, which may ask for nothing but that.
//
// It promises that a call of another architecture is none that it knows, and that a call whose arguments lie in memory,
// where they can change after they were looked at, is refused or allowed as a whole. It names system calls and makes none.
//
// A filter is the second wall. What it refuses is closed by namespaces and by the lack of capabilities too, but for
// sockets that no namespace parts, requests for keys, and characters that are put into the terminal's input.
package seccomp
