package program

import (
	"strings"

	"watertight/doctor"
)

var preloadOnly = doctor.Rule{
	ID: "PRELOAD-ONLY", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "programs are held to a proxy by LD_PRELOAD only",
	Clients: []string{"static programs of Go", "grpcio and what else resolves by c-ares", "dig"},
	Explain: `proxychains and torsocks put a library before libc's. Measured: curl, Node, Python and aiohttp are clean with proxychains 4 and
proxy_dns; static programs of Go, grpcio (c-ares) and dig look names up in the clear with it, and a static program of Go connects
directly under torsocks. A network namespace holds all of them: watertight exec.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		const fix = "watertight exec -- COMMAND   # in place of proxychains or torsocks"
		var found []doctor.Finding
		for _, p := range h.Processes {
			preload, _ := p.Env("LD_PRELOAD")
			lib := wrapper(preload)
			if lib == "" {
				continue
			}
			f := doctor.Finding{Fact: "programs run with " + lib + " by LD_PRELOAD, which not all obey", Evidence: []string{p.String() + ": LD_PRELOAD=" + preload}, Fix: fix}
			if _, ok := h.BuildInfo(p); ok {
				f.Fact, f.Severity = p.Name+" is a program of Go, which pays no heed to "+lib, doctor.Critical
			}
			found = append(found, f)
		}
		if file, ok := h.Files.Read("/etc/ld.so.preload"); ok {
			for i, line := range file.Lines() {
				if lib := wrapper(line); lib != "" {
					found = append(found, doctor.Finding{Fact: "every program is started with " + lib + ", which not all obey", Evidence: []string{file.At(i+1, line)}, Fix: fix})
				}
			}
		}
		return doctor.Merge(found)
	},
}

// wrapper names the library that leads connections to a proxy.
func wrapper(preload string) string {
	for _, lib := range []string{"proxychains", "torsocks", "tsocks"} {
		if strings.Contains(preload, lib) {
			return lib
		}
	}
	return ""
}
