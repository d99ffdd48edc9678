package leaktest

import "context"

// About a case: what is listed of it.
type Listed struct {
	ID, Title, Cause string
	// Canary says that it needs one.
	Canary bool
	// Needed says that no run is sealed without it.
	Needed bool
}

// definition is a case with how it is tried.
type definition struct {
	Listed
	// fix is what to do about a leak that it finds, where it names no other.
	fix   string
	stage stage
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
