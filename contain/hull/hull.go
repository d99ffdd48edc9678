// Package hull is what stands around a contained program beside its network: files, sockets in the file system,
// descriptors, environment, capabilities and system calls. It closes the ways by which a program without a network
// still has its names looked up by others: a name-service daemon behind a socket in /run, a message bus, an agent, a
// descriptor that it was started with, a helper that the kernel starts on its behalf.
//
// It promises that no instruction of the program is executed before all of that is closed, that it has tried from
// inside whether a socket of the host still answers, and that what cannot be closed is an [Error] with the reason
// and the mend, and no program. It never changes the process that asks for a contained program: everything happens
// in a child that was started with [Attr], which calls [Enter], then [Hull.Start], and is the init of the program's
// process namespace until [Program.Wait] returns.
//
// It trusts the kernel, and it does not hold what the program writes into files that other programs of the same user
// execute.
package hull

import (
	"fmt"
	"strings"
)

// Plan is what a program finds around it. The zero value opens nothing, and needs ResolvConf and Dir.
type Plan struct {
	Dir        string   `json:"dir"`                  // the working directory, an absolute path
	Env        []string `json:"env"`                  // the environment, of which the dangerous part is left out
	ResolvConf string   `json:"resolv_conf"`          // the text of /etc/resolv.conf
	KeepEnv    []string `json:"keep_env,omitempty"`   // variables that stay though they are in [Dangerous]
	Binds      []string `json:"binds,omitempty"`      // files and directories below a private directory that stay visible
	Sockets    []string `json:"sockets,omitempty"`    // UNIX sockets of the host that may be reached, by their paths
	Relative   []string `json:"relative,omitempty"`   // sockets of the host that no list places: what [Relative] gave
	Unplaced   []string `json:"unplaced,omitempty"`   // those that it found in no directory, as they were given: for the report
	Keep       []int    `json:"keep,omitempty"`       // descriptors that the program gets beside 0, 1 and 2
	ShareTmp   bool     `json:"share_tmp,omitempty"`  // /tmp and /var/tmp are the host's
	AnyFile    bool     `json:"any_file,omitempty"`   // descriptors may be sockets, directories and devices too
	Namespaces bool     `json:"namespaces,omitempty"` // the program may make namespaces, but for mounts
}

// Limits of a plan.
const (
	maxPaths      = 256     // of Binds, and of Sockets
	maxKeep       = 64      // of Keep
	maxDescriptor = 1023    // in Keep
	maxText       = 1 << 16 // octets of ResolvConf
	maxEnv        = 1 << 21 // octets of the environment: what the kernel takes by default
)

// Part names one part of the hull.
type Part string

// The parts, as they stand in errors and reports.
const (
	PartPlan         Part = "plan"
	PartNamespaces   Part = "namespaces"
	PartDescriptors  Part = "descriptors"
	PartMounts       Part = "mounts"
	PartProc         Part = "proc"
	PartFiles        Part = "files"
	PartSockets      Part = "sockets"
	PartCapabilities Part = "capabilities"
	PartSeccomp      Part = "seccomp"
	PartLandlock     Part = "landlock"
	PartProgram      Part = "program" // the program itself could not be started; it was contained
)

// Error is why a program was not started.
type Error struct {
	Part   Part
	Reason string // what cannot be done
	Mend   string // what the user can do about it; empty where nothing is known
	Err    error  // what the kernel said; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Part, e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Mend != "" {
		fmt.Fprintf(&b, "; %s", e.Mend)
	}
	return b.String()
}

// Unwrap gives what the kernel said.
func (e *Error) Unwrap() error { return e.Err }

// Report says what was done. It is for the user's eyes: the parts that hold only on some kernels are named with what
// they hold here.
type Report struct {
	Masked  []string `json:"masked"`  // directories that are private and empty at first
	Covered []string `json:"covered"` // sockets outside these that were covered one by one
	Allowed []string `json:"allowed"` // sockets that may be reached
	// Unplaced has sockets whose path was given from the directory of a program, of which only its user is told: whether they are
	// seen from inside is not known, unless the search found them.
	Unplaced []string `json:"unplaced"`
	Tried    int      `json:"tried"` // sockets that were tried from inside
	Cut      bool     `json:"cut"`   // the search for sockets that no process here holds ended at its limit
	// SharedProc says that /proc is the one of this process, as in containers that mask parts of theirs: its processes are
	// seen, and not reached.
	SharedProc bool   `json:"shared_proc"`
	Landlock   string `json:"landlock"` // what Landlock holds, or why it holds nothing
}
