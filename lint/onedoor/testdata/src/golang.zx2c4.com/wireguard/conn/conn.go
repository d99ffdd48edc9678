// Package conn stands in for the library of that name.
package conn

// Bind is where datagrams leave.
type Bind interface{ Close() error }

// NewDefaultBind opens a socket of the host.
func NewDefaultBind() Bind { return nil }
