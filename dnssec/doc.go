// Package dnssec decides whether a DNS reply is what the owner of the name signed (RFC 4033 to 4035, RFC 5155, RFC 6840).
//
// It promises that Secure means an unbroken chain of signatures from a trust anchor to every record that answers the
// question, or to the proof that there is none; that Insecure means a proof, signed on the same chain, that the chain
// ends above the name; and that everything else is Bogus or Indeterminate, which a caller must not use. The clock opens
// nothing: a signature outside its period is as bad as none. Work is bounded, whatever a zone sends: look-ups, tries of
// keys, hashes, records and depth.
//
// It never sends anything and never looks a name up: the questions of the chain go through the function that [New] is
// given. It stores nothing outside its memory; [AnchorSet] is text for its owner to keep.
//
// A reply is judged by the records that the question leads to. What else is in the message stays unjudged: a caller
// takes the answer from [watertight/dnswire.ParseAnswer], which keeps the same records and no others.
package dnssec
