package probe

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// maxFile bounds what is read of a file, in octets.
const maxFile = 64 << 10

// files reads how the library of C would look names up, and gives the resolvers.
func files() (servers []netip.Addr, tried []attempt) {
	servers, odd, err := nameservers("/etc/resolv.conf")
	tried = append(tried, attempt{Files, "the resolvers", "/etc/resolv.conf", []Result{Answered}, func() (Result, string, error) {
		switch {
		case err != nil:
			return Unclear, "", err
		case len(servers) == 0:
			return Absent, "there is none", nil
		case odd != "":
			return Elsewhere, odd, nil
		}
		return Answered, fmt.Sprint(servers), nil
	}})
	tried = append(tried, attempt{Files, "the services that look hosts up", "/etc/nsswitch.conf", []Result{Answered}, func() (Result, string, error) {
		list, err := hostServices("/etc/nsswitch.conf")
		if err != nil {
			return Unclear, "", err
		}
		for _, s := range list {
			if s != "files" && s != "dns" {
				return Elsewhere, "hosts: " + strings.Join(list, " "), nil
			}
		}
		return Answered, "hosts: " + strings.Join(list, " "), nil
	}})
	return servers, tried
}

// nameservers reads resolv.conf(5). A suffix that would be put behind names is odd.
func nameservers(path string) (servers []netip.Addr, odd string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxFile))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil && len(servers) < 3 { // as many as the library takes
				servers = append(servers, a)
			}
		case "search", "domain":
			odd = strings.Join(fields, " ")
		}
	}
	return servers, odd, lines.Err()
}

// hostServices reads of nsswitch.conf(5) by whom hosts are looked up.
func hostServices(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []string
	lines := bufio.NewScanner(io.LimitReader(f, maxFile))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "hosts:"); ok {
			list = strings.Fields(rest)
		}
	}
	return list, lines.Err()
}
