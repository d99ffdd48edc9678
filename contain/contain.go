// Package contain puts programs into namespaces of their own, so that the network they see is the one they were
// given. It needs no privilege: a user namespace grants what it takes.
//
// It promises that a program it starts is inside before its first instruction, and that where containment is
// impossible nothing is started and the reason is said. It never changes the namespaces of this process, only of
// single threads that end with the work they were made for.
package contain

import "errors"

// ErrForbidden is returned where this host does not let this process make namespaces.
var ErrForbidden = errors.New("this host does not allow user namespaces here")

// ExitForbidden is the exit code by which a program that was started in new namespaces says that they turned out
// to be useless: made, but without the rights that belong to them (AppArmor's restriction does so).
const ExitForbidden = 97
