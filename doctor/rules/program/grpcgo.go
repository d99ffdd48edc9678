package program

import (
	"strconv"
	"strings"

	"watertight/doctor"
)

const grpcModule = "google.golang.org/grpc"

var grpcGoOld = doctor.Rule{
	ID: "GRPC-GO-OLD", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "a program of Go runs that is built with gRPC 1.64 to 1.70, which resolves before it asks the proxy",
	Clients: []string{"grpc.NewClient of gRPC for Go 1.64 to 1.70, and what is built with it"},
	Explain: `grpc.NewClient took dns:/// for its default in 1.64. Measured with 1.68 and HTTPS_PROXY: A, AAAA and a TXT query for
_grpc_config.NAME, and then CONNECT with an address; with 1.85 nothing but CONNECT with the name. The delegating resolver of 1.71
(commit 2fd426d09; grpc-go#7556) mended it. grpc.Dial and targets with passthrough:/// were clean all the time. What a program is
built with stands in its own file, and is read from there.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, p := range h.Processes {
			told, ok := proxyOf(p)
			if !ok && p.Seen {
				continue // it is not meant to go through a proxy
			}
			version := grpcVersion(h, p)
			if version == "" {
				continue
			}
			if told == "" {
				told = "its variables cannot be seen"
			}
			found = append(found, doctor.Finding{
				Fact: p.Name + " is built with gRPC for Go " + version, Evidence: []string{p.String() + ": " + grpcModule + " " + version + "; " + told},
				Fix: "go get " + grpcModule + "@latest   # 1.71 or later; or passthrough:/// before its targets; or watertight exec -- " + doctor.Quote(p.Name) + " …",
			})
		}
		return doctor.Merge(found)
	},
}

// grpcVersion gives the version of gRPC that a program is built with, if it is one of the bad ones.
func grpcVersion(h *doctor.Host, p doctor.Process) string {
	info, ok := h.BuildInfo(p)
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m == nil || m.Path != grpcModule {
			continue
		}
		version := m.Version
		if m.Replace != nil && strings.HasPrefix(m.Replace.Version, "v") {
			version = m.Replace.Version
		}
		part := strings.Split(strings.TrimPrefix(version, "v"), ".")
		if len(part) < 3 || part[0] != "1" {
			return ""
		}
		if minor, err := strconv.Atoi(part[1]); err == nil && minor >= 64 && minor <= 70 {
			return version
		}
	}
	return ""
}
