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
// they are bound to in the file system, each once: those that are whole, and those that a socket was given from its
// program's working directory. What is beyond the limits makes cut true.
func readUnix(r io.Reader) (paths, relative []string, cut bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxSocketLine), maxSocketLine)
	seen := map[string]bool{}
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path, and a path may have spaces.
		rest := lines.Text()
		if strings.HasPrefix(rest, "Num ") { // the first line
			continue
		}
		for range 7 {
			rest = strings.TrimLeft(rest, " ")
			i := strings.IndexByte(rest, ' ')
			if i < 0 {
				rest = ""
				break
			}
			rest = rest[i+1:]
		}
		if rest == "" || rest[0] == '@' || seen[rest] { // without a name, or with an abstract one
			continue
		}
		if len(seen) == maxSockets {
			return paths, relative, true
		}
		seen[rest] = true
		if rest[0] == '/' {
			paths = append(paths, rest)
		} else {
			relative = append(relative, rest)
		}
	}
	return paths, relative, lines.Err() != nil
}
