// Package resolve looks names up, over a dial function and over nothing else: it decides which upstream is asked,
// keeps what was answered, and answers for names of special use itself.
//
// It promises that a question goes only to the upstreams of the [Resolver], each by its own client of package
// transport; that an answer is final, a negative one and a failure too; that the next upstream is asked only where the
// one before could not be reached or gave no reply; and that names for special use are answered here. It never opens a
// connection itself, never uses a connection, a ticket or an answer of another Resolver, and never falls back.
package resolve
