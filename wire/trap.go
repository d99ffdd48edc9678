package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
)

// ErrHostResolver is what a look-up through the host's resolver gets in this process.
var ErrHostResolver = errors.New("the host resolver is disarmed: a name is resolved inside a channel, or not at all")

// ErrDefaultClient is what a request through net/http's default client gets in this process.
var ErrDefaultClient = errors.New("net/http's default client is disarmed: every outgoing client names its channel")

var trapped atomic.Uint64

// refusing is a resolver that reaches nothing: what stands where the standard library wants one.
var refusing = &net.Resolver{PreferGo: true, StrictErrors: true, Dial: refuse}

func refuse(context.Context, string, string) (net.Conn, error) {
	trapped.Add(1)
	return nil, ErrHostResolver
}

type refusingTransport struct{}

func (refusingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	trapped.Add(1)
	return nil, ErrDefaultClient
}

// Seal disarms the host's resolver and net/http's default client and transport in this process. The program calls
// it first of all; what goes into the traps afterwards is counted.
func Seal() {
	net.DefaultResolver = refusing
	http.DefaultTransport = refusingTransport{}
	http.DefaultClient = &http.Client{Transport: refusingTransport{}}
}

// Trapped counts what went into the traps since the program started. Anything but 0 is a fault of the program.
func Trapped() uint64 { return trapped.Load() }
