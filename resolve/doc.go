// Package resolve asks encrypted resolvers, over a dial function and over nothing else.
//
// It promises that a question goes only to the upstreams of the [Resolver], encrypted with TLS 1.3 to a server that
// proved its name (and its key, where one is pinned) on this very connection; that an answer is final, a negative one
// and a failure too; that the next upstream is asked only where the one before could not be reached; and that names
// for special use are answered here. It never resolves the name of an upstream, never follows a redirect, never uses
// a connection, a ticket or an answer of another Resolver, and never falls back.
package resolve
