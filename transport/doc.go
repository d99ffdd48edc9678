// Package transport asks one upstream, over a dial function and over nothing else.
//
// It promises that a question goes only to the addresses of the [Client]'s upstream, encrypted, to a server that proved
// who it is on this very connection: with TLS 1.3 by its name, and by its key where one is pinned. Connections are kept
// warm and shared, a question on one that breaks is asked once more on a fresh one, and what failed is remembered for a
// while ([Client.Blocked]). It never resolves the name of an upstream, never follows a redirect, never uses a
// connection or a session of another Client, never asks somebody else instead, and never caches: whom to ask, and what
// to keep, is for package resolve. No question travels before the handshake is complete: there is no 0-RTT.
//
// Encrypted Client Hello (RFC 9849) is used wherever keys for it are known, and then never left out. Those of the
// configuration hold for ever. Otherwise the upstream is asked, over its own authenticated connection, for the SVCB or
// HTTPS record of its own name (RFC 9460, 9461), again when half of its time is over, which is taken for a minute at least and a
// day at most. Nothing but the passing of that time ends what a record with keys said: no empty answer, no error, no
// rejection, no change of the network. And when it has passed, one more connection is made with the old keys, over
// which the upstream is asked again; where that one fails, the next is made without. A server that rejects the keys
// and has proved to be the public name may send others: those are tried once, and kept for nothing. What a record says
// about another host, another port than the configured one, or another protocol is passed over.
//
// HTTP/3 takes the place of HTTP/2 where the upstream said so in that record or by Alt-Svc (RFC 7838), on its own host, and
// where the way out carries datagrams: on the same addresses, at the port that was said, with the same checks. A path
// on which it does not come about leads back to HTTP/2, and is left alone for five minutes, then twice as long each
// time. All this is forgotten when its time is over, and with Flush.
//
// A kind of upstream is an opener, which makes connections, and a link, which is one of them at work. Each kind is a
// file of its own and a line in the table openers.
package transport
