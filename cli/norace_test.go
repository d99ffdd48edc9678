//go:build !race

package cli_test

// raceFactor is how much more memory the race detector needs: it is not there.
const raceFactor = 1
