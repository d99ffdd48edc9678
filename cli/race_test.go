//go:build race

package cli_test

// raceFactor is how much more memory the race detector needs.
const raceFactor = 10
