//go:build !linux

package probe

import "context"

// Child returns at once: there is no inside.
func Child() {}

// Run gives [ErrNoExec].
func Run(context.Context, []string, Spec) ([]Outcome, error) { return nil, ErrNoExec }
