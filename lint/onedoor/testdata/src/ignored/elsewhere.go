//go:build plan9

package ignored
