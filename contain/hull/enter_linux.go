package hull

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Hull is what stands around the program, complete but for the program.
type Hull struct {
	plan   Plan
	env    []string
	report Report
}

// Enter makes the hull around this process, which must have been started with [Attr], and must do what it needs
// /proc/sys, other descriptors or the host's files for before. When it returns, the files are what the program will
// see, every socket of the host was tried, and this process is in the plan's directory. Sockets is what [Sockets] gave. It must
// be called once, and an error means that this process is to end.
func Enter(plan Plan, sockets []string) (*Hull, error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	if os.Getpid() != 1 {
		return nil, &Error{Part: PartNamespaces, Reason: "this process is not the first of its process namespace"}
	}
	if err := plan.checkDescriptors(); err != nil {
		return nil, err
	}
	if err := partFromFiles(); err != nil {
		return nil, err
	}
	v := &view{plan: plan, allowed: map[string]string{}}
	listed := slices.Concat(sockets, plan.Relative)
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, &Error{Part: PartMounts, Reason: "the mounts are not known", Err: err}
	}
	var cutMounts bool
	v.mounts, cutMounts = readMounts(info)
	_ = info.Close()
	if cutMounts {
		return nil, &Error{Part: PartMounts, Reason: "there are more mounts than can be looked at"}
	}
	for _, path := range listed[:len(listed):len(listed)] {
		if at, err := filepath.EvalSymlinks(path); err == nil {
			path = at
		}
		listed = append(listed, aliases(v.mounts, path)...)
	}
	if err := v.arrange(); err != nil {
		return nil, err
	}
	searched := make(chan func() ([]string, bool), 1)
	go func() { // what is masked is, and the rest does not concern it
		found, cut := v.search(listed)
		searched <- func() ([]string, bool) { return found, cut }
	}()
	for _, step := range []func() error{v.resolution, queues, sys, v.proc} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	found, cut := (<-searched)()
	if err := v.audit(v.cover(append(listed, found...))); err != nil {
		return nil, err
	}
	if err := os.Remove(v.empty); err != nil {
		return nil, &Error{Part: PartMounts, Reason: "no room for files", Err: err}
	}
	v.report.Cut, v.report.Unplaced = cut, plan.Unplaced
	// By its path: the directory that was inherited is one of the host, even below a mask.
	err = os.Chdir(plan.Dir)
	if err != nil && v.dir != "" { // a link to it was below a mask
		err = os.Chdir(v.dir)
	}
	if err != nil {
		return nil, &Error{Part: PartMounts, Reason: "the working directory cannot be entered", Err: err}
	}
	env, _ := Environment(plan.Env, plan.KeepEnv)
	return &Hull{plan: plan, env: env, report: v.report}, nil
}

// Report says what was done. What Landlock holds is known after [Hull.Start].
func (h *Hull) Report() Report { return h.report }

// IsError says whether err tells why a program was not started, and gives it.
func IsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
