package watch

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
)

// Caller gives whose socket a connection over TCP from an address of this host is: the process as "NAME (PID)", empty where this
// user may not see it, and the user. It is false where there is no such connection any more. A look costs what all sockets and
// descriptors of the host cost.
func Caller(from netip.AddrPort) (process string, uid int, ok bool) {
	all, err := table()
	if err != nil {
		return "", 0, false
	}
	from = plain(from)
	var inode uint64
	for _, s := range all {
		if s.Proto == "tcp" && s.Local == from && s.Remote.IsValid() && s.Inode != 0 { // of one that is closed there is neither process nor user
			inode, uid = s.Inode, s.UID
			break
		}
	}
	if inode == 0 {
		return "", 0, false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "", uid, true
	}
	for i, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || i > maxProcesses {
			continue
		}
		found := false
		_ = inodes("/proc/"+e.Name()+"/fd", func(n uint64) bool { found = n == inode; return found }) // of others, perhaps not
		if found {
			return named(e.Name()), uid, true
		}
	}
	return "", uid, true
}

// HasFarEnd says whether this host has the other end of a connection over TCP from an address, so that it was led here, whether or not
// anybody has taken it yet. It is false too where the sockets of the host cannot be listed.
func HasFarEnd(from netip.AddrPort) bool {
	all, err := table()
	from = plain(from)
	return err == nil && slices.ContainsFunc(all, func(s Socket) bool { return s.Proto == "tcp" && s.Remote == from })
}
