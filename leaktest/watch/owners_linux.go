package watch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// table gives the sockets of this network namespace.
func table() (all []Socket, err error) {
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open("/proc/self/net/" + name)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(name, "6") { // a host without IPv6
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the sockets of this host cannot be listed: %w", err)
		}
		found, cut := readTable(f, name[:3])
		_ = f.Close()
		if cut {
			return nil, errors.New("the sockets of this host cannot all be listed")
		}
		all = append(all, found...)
	}
	return all, nil
}

// Own gives the sockets of this process, in its network namespace.
func Own() ([]Socket, error) {
	held := map[uint64]bool{}
	if err := inodes("/proc/self/fd", func(inode uint64) bool { held[inode] = true; return false }); err != nil {
		return nil, fmt.Errorf("the sockets of this process cannot be listed: %w", err)
	}
	all, err := table()
	if err != nil {
		return nil, err
	}
	var own []Socket
	for _, s := range all {
		if held[s.Inode] {
			own = append(own, s)
		}
	}
	return own, nil
}

// inodes calls fn with the number of each socket that a process holds, until it is true.
func inodes(dir string, fn func(uint64) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to, err := os.Readlink(dir + "/" + e.Name())
		if err != nil {
			continue // closed since
		}
		if text, ok := strings.CutPrefix(to, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64); err == nil && fn(inode) {
				return nil
			}
		}
	}
	return nil
}

// maxProcesses is how many processes are asked whether they hold a socket.
const maxProcesses = 10_000

// owner gives who sends what was sighted, as "NAME (PID)", and whether that is this process; and whether its receiver is.
func owner(s *Sighting) (who string, ours, received bool) {
	all, err := table()
	if err != nil {
		return "", false, false
	}
	from, to := map[uint64]bool{}, map[uint64]bool{}
	for _, one := range all {
		if one.Proto != s.Proto || one.Inode == 0 {
			continue
		}
		at := func(local, remote bool) bool {
			l, r := s.From, s.To
			if !local {
				l, r = s.To, s.From
			}
			return one.Local.Port() == l.Port() && (one.Local.Addr() == l.Addr() || one.Local.Addr().IsUnspecified()) && (one.Remote == r || !remote)
		}
		switch {
		case at(true, true), one.hears() && at(true, false):
			from[one.Inode] = true
		case at(false, true), one.hears() && at(false, false):
			to[one.Inode] = true
		}
	}
	_ = inodes("/proc/self/fd", func(inode uint64) bool {
		ours, received = ours || from[inode], received || to[inode]
		return false
	})
	if ours {
		return named(strconv.Itoa(os.Getpid())), true, received
	}
	if len(from) == 0 {
		return "", false, received
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "", false, received
	}
	for i, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || i > maxProcesses {
			continue
		}
		found := false
		_ = inodes("/proc/"+e.Name()+"/fd", func(inode uint64) bool { found = from[inode]; return found }) // of others, perhaps not
		if found {
			return named(e.Name()), false, received
		}
	}
	return "", false, received
}

// named gives a process as "NAME (PID)".
func named(pid string) string {
	b, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "(" + pid + ")"
	}
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.TrimSuffix(string(b), "\n"))
	return name + " (" + pid + ")"
}
