package onedoor

import "strings"

// exception lets one room do what a rule forbids. There is no way to write one at the place of use: a reason in this
// list is read by whoever reviews a change to it.
type exception struct {
	room  string // an import path, or one ending in /... for it and all below it
	rules []string
	why   string
}

var exceptions = []exception{
	{"watertight/wire", []string{"socket", "resolver", "client"}, "it is the door, and it disarms the host's resolver and net/http's defaults"},
	{"watertight/dnswire", []string{"dnslib"}, "it is the one codec for DNS messages; the library's sockets stay forbidden"},
	{"watertight/dnssec", []string{"dnslib"}, "it verifies signatures over records as they came; the library's sockets stay forbidden"},
	{"watertight/contain", []string{"exec"}, "it starts the program that it contains, in namespaces of its own"},
	{"watertight/contain/seccomp", []string{"socket", "exec"}, "it names the system calls that are looked at for other programs, and makes none"},
	{"watertight/contain/hull", []string{"exec", "beneath"}, "it starts the program that it contains, and asks the kernel for Landlock, which no function here names"},
	{"watertight/guard", []string{"exec"}, "it has the program nft load the host's firewall and tell what there is of it"},
	{"watertight/daemon", []string{"asothers"}, "it lets the leak test send to its canary what the host's firewall should hand over"},
	{"watertight/demo", []string{"exec"}, "it starts itself again inside a namespace"},
	{"watertight/demo/ordinary", []string{"socket", "client", "environment"}, "it is the ordinary client that leaks, so that the leak can be shown"},
	{"watertight/leaktest/ordinary", []string{"exec"}, "it lets another program ask the host's resolver for a name that means nothing, so that a leak is seen on purpose"},
	{"watertight/leaktest/probe", []string{"exec", "asothers"}, "it starts itself again, as another program without a mark, to try what the host's guard must refuse"},
	{"watertight/leaktest/watch", []string{"exec"}, "it starts itself again, with less rights, to read packets"},
	{"watertight/lab/...", []string{"client", "exec"}, "it is a whole internet in namespaces of its own, with clients that are meant to leak"},
}

// excepted says whether a rule is lifted for a package.
func excepted(path, rule string) bool {
	path = strings.TrimSuffix(path, "_test") // the external tests of a package share its room
	for _, e := range exceptions {
		if !in(path, e.room) {
			continue
		}
		for _, r := range e.rules {
			if r == rule {
				return true
			}
		}
	}
	return false
}

// in says whether an import path is a room's, where a room ending in /... holds everything below it.
func in(path, room string) bool {
	base, all := strings.CutSuffix(room, "/...")
	return path == base || all && strings.HasPrefix(path, base+"/")
}

// Exceptions gives the rooms that may do what a rule forbids, each with its reason.
func Exceptions() map[string]string {
	out := make(map[string]string, len(exceptions))
	for _, e := range exceptions {
		out[e.room] = e.why
	}
	return out
}
