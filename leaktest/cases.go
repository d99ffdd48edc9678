package leaktest

import "context"

// Listed is what is known of a case before it is tried. The field names are stable.
type Listed struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Cause  string `json:"cause"`
	Canary bool   `json:"canary"` // it needs one
	Needed bool   `json:"needed"` // no run is sealed without it
	// NeededWhere says where no run is sealed without it, where that depends; empty: it does not.
	NeededWhere string `json:"needed_where,omitempty"`
}

// definition is a case with how it is tried.
type definition struct {
	Listed
	// fix is what to do about a leak that it finds, where it names no other.
	fix   string
	stage stage
	// fresh says that it asks for names of the canary where there is one.
	fresh bool
	try   func(ctx context.Context, r *run, f *findings)
	// then is called once what the canary has seen is known; nil: there is nothing more to say.
	then func(ctx context.Context, r *run, f *findings)
}

// stage is when a case is tried.
type stage int

const (
	early   stage = iota
	failing       // with what fails on purpose
	looking       // at what the others did
)

// IDs gives the IDs of all cases, in their order.
func IDs() (ids []string) {
	for _, d := range definitions() {
		ids = append(ids, d.ID)
	}
	return ids
}

// List gives all cases, in their order.
func List() (all []Listed) {
	for _, d := range definitions() {
		all = append(all, d.Listed)
	}
	return all
}
