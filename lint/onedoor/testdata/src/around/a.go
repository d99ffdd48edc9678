// Package around tries to get past the rules without naming what they name.
package around

import (
	"net/http"
	_ "net/http/cgi" // want `import "net/http/cgi": it starts programs, or serves`
	"reflect"
	"syscall"

	"golang.org/x/sys/unix"
)

func made[T any](_ *T) *T { return new(T) }

func forbidden(c *http.Client) {
	_, _, _ = syscall.Syscall(41, 2, 1, 0)                        // want `syscall.Syscall: a number says nothing`
	_, _, _ = syscall.RawSyscall(41, 2, 1, 0)                     // want `syscall.RawSyscall: `
	_, _, _ = syscall.Syscall6(41, 2, 1, 0, 0, 0, 0)              // want `syscall.Syscall6: `
	_, _, _ = unix.Syscall(41, 2, 1, 0)                           // want `unix.Syscall: `
	_ = unix.RawSyscall                                           // want `unix.RawSyscall: `
	_, _ = unix.PidfdGetfd(0, 0, 0)                               // want `unix.PidfdGetfd: `
	_ = reflect.New(reflect.TypeOf(c).Elem())                     // want `reflect.New: `
	_ = reflect.Zero(reflect.TypeOf(c).Elem())                    // want `reflect.Zero: `
	_ = made(c)                                                   // want `http.Client: its zero value falls back to the host`
	_ = made[http.Client](nil)                                    // want `http.Client: its zero value falls back to the host`
	_ = []http.Client{{}}                                         // want `http.Client: ` `http.Client\{\}: `
	_ = map[int]*http.Client{0: {}}                               // want `http.Client\{\}: `
	_ = http.Client{nil, nil, nil, 0}                             // want `http.Client\{\}: `
	var get interface{ Get(string) (*http.Response, error) } = c // a client that somebody gave: its literal was checked
	_ = get
}

func allowed(c *http.Client) {
	_ = []*http.Client{c}
	_ = reflect.TypeOf(c)
	_, _ = unix.Splice(0, 1, 2)
	_ = func(p **http.Client) {}
	same(c, c)
}

func same[T comparable](a, b T) bool { return a == b }

func assembled() int
