package cli

import (
	"fmt"
	"io"
	"strings"

	"watertight/contain/hull"
	"watertight/daemon"
)

// execSeen tells, on standard error, what stands around a contained program and what became of what it sent.
type execSeen struct {
	to      io.Writer
	verbose bool
	program string
	attach  bool
}

func (s *execSeen) line(format string, args ...any) {
	fmt.Fprintf(s.to, "watertight: %s\n", fmt.Sprintf(format, args...))
}

// held tells what stands around the program, once it is started.
func (s *execSeen) held(r hull.Report) {
	if !s.verbose {
		return
	}
	s.line("private to %s: %s", s.program, orNone(r.Masked))
	s.line("sockets of the host that were covered one by one: %s", orNone(r.Covered))
	if len(r.Allowed) > 0 {
		s.line("sockets of the host that it may reach: %s", strings.Join(r.Allowed, " "))
	}
	cut := ""
	if r.Cut {
		cut = "; the search for more ended at its limit"
	}
	s.line("%d sockets were tried from inside%s", r.Tried, cut)
	if len(r.Unplaced) > 0 {
		s.line("sockets of other users' programs whose directory is not told, and which were looked for in the usual places alone: %q", r.Unplaced)
	}
	if r.SharedProc {
		s.line("it sees the processes of this container")
	}
	s.line("Landlock: %s", r.Landlock)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

// did tells what became of what the program sent. What was refused is said in any case: the program cannot tell it from a fault
// of the network. Without --attach the log does.
func (s *execSeen) did(d daemon.Summary) {
	switch {
	case s.verbose:
		s.line("%s: %s", s.program, d)
	case s.attach && d.Codes != "":
		s.line("%s was refused connections or datagrams, or they failed: %s (see the log of the running proxy)", s.program, d.Codes)
	}
}
