// Package resolve looks names up, over a dial function and over nothing else: it decides which upstream is asked,
// keeps what was answered, and answers for names of special use itself.
//
// It promises that a question goes only to the upstreams of the [Resolver], each by its own client of package
// transport; that an answer is final, a negative one and a failure too; that no more upstreams see a name than its
// [Strategy] says, and the next one is asked only where another could not be reached or gave no reply; that an answer
// which has expired is given only where [Options] say so, and none is after Flush; that where [DNSSEC] asks for it, no
// answer of an upstream is given that package dnssec did not find good; and that names for special use are answered
// here. It never opens a connection itself, never uses a connection, a ticket or an answer of another Resolver,
// and never falls back.
package resolve
