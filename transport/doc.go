// Package transport asks one upstream, over a dial function and over nothing else.
//
// It promises that a question goes only to the addresses of the [Client]'s upstream, encrypted, to a server that proved
// who it is on this very connection: with TLS 1.3 by its name, and by its key where one is pinned. Connections are kept
// warm and shared, a question on one that breaks is asked once more on a fresh one, and what failed is remembered for a
// while ([Client.Blocked]). It never resolves the name of an upstream, never follows a redirect, never uses a
// connection or a session of another Client, never asks somebody else instead, and never caches: whom to ask, and what
// to keep, is for package resolve.
//
// A kind of upstream is an opener, which makes connections, and a link, which is one of them at work. Each kind is a
// file of its own and a line in the table openers.
package transport
