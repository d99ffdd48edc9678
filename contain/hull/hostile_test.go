package hull_test

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// play is a hostile program: it tries one way out and prints what came of it, one line each.
func play(role string, args []string) int {
	switch role {
	case "connect":
		for _, path := range args {
			fmt.Println(connect(path))
		}
	case "status":
		text, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(text)) {
			for _, key := range []string{"Cap", "NoNewPrivs", "Seccomp:", "Uid", "Gid"} {
				if strings.HasPrefix(line, key) {
					fmt.Print(line)
				}
			}
		}
	}
	return 0
}

// connect says whether a socket answers, of whatever type.
func connect(path string) string {
	for _, network := range []string{"unix", "unixgram", "unixpacket"} {
		if conn, err := net.Dial(network, path); err == nil {
			conn.Close()
			return "open " + path
		}
	}
	return "closed " + path
}
