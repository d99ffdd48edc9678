package wire

import "errors"

// ErrNotLinux is returned for what only Linux has: sockets that take connections meant for others, and marks.
var ErrNotLinux = errors.New("this system has no such sockets: only Linux does")

// ErrNotRedirected is returned for a connection that was made to this program itself, and redirected from nowhere.
var ErrNotRedirected = errors.New("the connection was not redirected here")
