package hull

import (
	"bufio"
	"io"
	"strings"
)

// Limits of what is read of a list of sockets.
const (
	maxSockets    = 65536
	maxSocketLine = 4096
)

// readUnix reads the list of a network's UNIX sockets, /proc/N/net/unix (proc_pid_net(5)), and gives the paths that
// they are bound to in the file system, each once. A path that a socket was given from its program's working
// directory cannot be told, and is passed over. What is beyond the limits makes cut true.
func readUnix(r io.Reader) (paths []string, cut bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxSocketLine), maxSocketLine)
	seen := map[string]bool{}
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path, and a path may have spaces.
		rest := lines.Text()
		for range 7 {
			rest = strings.TrimLeft(rest, " ")
			i := strings.IndexByte(rest, ' ')
			if i < 0 {
				rest = ""
				break
			}
			rest = rest[i+1:]
		}
		if !strings.HasPrefix(rest, "/") || seen[rest] {
			continue
		}
		if len(paths) == maxSockets {
			return paths, true
		}
		seen[rest] = true
		paths = append(paths, rest)
	}
	return paths, lines.Err() != nil
}
