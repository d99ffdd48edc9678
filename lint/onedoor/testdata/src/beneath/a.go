// Package beneath goes below the rules.
package beneath

import (
	"plugin" // want `import "plugin": C and plug-ins bring libc's resolver, out of reach of these rules; write it in Go \(onedoor: beneath\)`
	_ "unsafe"
)

//go:linkname now time.now // want `go:linkname: it reaches what no rule here can name`
func now() (int64, int32, int64)

var _ plugin.Symbol

//go:noinline
func allowed() { now() }
