package hull

import "strings"

// For tests: the steps of Enter that take no namespace.
var (
	Nsswitch   = nsswitch
	Hosts      = hosts
	ReadMounts = readMounts
	ReadUnix   = readUnix
	LeadsTo    = leadsTo
	Landlock   = landlock
)

// Points gives where mounts are, and which are by name.
func Points(mounts []mount) (points, byName []string) {
	for _, m := range mounts {
		points = append(points, m.point)
		if m.byName() {
			byName = append(byName, m.point)
		}
	}
	return points, byName
}

// Aliases gives the other paths of a file, by a mountinfo.
func Aliases(mountinfo, path string) []string {
	mounts, _ := readMounts(strings.NewReader(mountinfo))
	return aliases(mounts, path)
}

// Audit tries paths.
func Audit(paths ...string) error { return (&view{}).audit(paths) }
