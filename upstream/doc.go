// Package upstream says what an encrypted resolver is: how it speaks, where it is, and how it has to prove who it is.
//
// It promises that an [Upstream] can be reached without a look-up, because its addresses are given, literal or those of
// a preset, unless the [Spec] says that a channel underneath looks it up; that names would not travel to it in clear
// text; and that a description which is wrong is refused whole, with every fault in it and its mend. It never dials,
// never looks a name up and never asks the system for a resolver; all it reads is the CA file that a description names.
package upstream
