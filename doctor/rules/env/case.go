package env

import (
	"strings"

	"watertight/doctor"
)

var letterCase = doctor.Rule{
	ID: "ENV-CASE", Severity: doctor.Critical,
	Title:   "a proxy variable is set in one case only, or differs between upper and lower case",
	Clients: []string{"wget", "curl (http:// URLs)", "grpcio, grpc-js", "Ruby"},
	Explain: `No standard says whether the variables are written in capitals, and clients differ.
Measured: wget 1.21, grpcio 1.51 and grpc-js 1.14 read lower case only and go direct with HTTPS_PROXY; curl reads http_proxy in
lower case only, since a web server may set HTTP_PROXY from a header of the request (httpoxy); Ruby reads https_proxy in lower
case. Where both are set and differ, which one counts differs too. Only lower case is read by all of the clients measured; a few
programs document capitals only.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		for _, lower := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy"} {
			upper := strings.ToUpper(lower)
			low, hasLow := s.Get(lower)
			up, hasUp := s.Get(upper)
			switch {
			case hasUp && !hasLow:
				value, change := inBoth(h, up, lower)
				found = append(found, doctor.Finding{
					Fact:     upper + " is set and " + lower + " is not",
					Severity: map[bool]doctor.Severity{true: doctor.Medium}[lower == "no_proxy"],
					Evidence: []string{up.String()},
					Fix:      set(s, lower, value),
					Change:   change,
				})
			case hasLow && !hasUp:
				value, change := inBoth(h, low, upper)
				found = append(found, doctor.Finding{
					Fact:     lower + " is set and " + upper + " is not",
					Severity: doctor.Low,
					Evidence: []string{low.String()},
					Clients:  []string{"programs that read capitals only"},
					Fix:      set(s, upper, value),
					Change:   change,
				})
			case hasLow && hasUp && low.Value != up.Value:
				found = append(found, doctor.Finding{
					Fact:     lower + " and " + upper + " differ",
					Evidence: []string{low.String(), up.String()},
					Clients:  []string{"every client: which one counts differs"},
					Fix:      set(s, upper, low.Value),
				})
			}
		}
		return found
	}),
}

// inBoth gives the value that a variable should have in the other case too, and the change that adds it. A value with which names leak
// is not written down once more: the right one is told, and it is left to the rule on that value to mend the first.
func inBoth(h *doctor.Host, v doctor.Var, other string) (value string, change *doctor.Change) {
	if strings.EqualFold(other, "no_proxy") {
		for _, e := range entries(v.Value) {
			_, bad := unambiguous(e, formOf(e))
			if why, _ := wide(h, e); bad || why != "" {
				return "localhost,127.0.0.1,::1", nil
			}
		}
	} else if u, _ := doctor.ReadProxyURL(v.Value); local(u) {
		return h.ProxyURL(), nil
	} else if why, _ := dislike(h, v.Value); why != "" {
		return h.ProxyURL(), nil
	}
	return v.Value, twin(h, v, other)
}

// set is the line that sets a variable where the scope takes its own from.
func set(s doctor.Scope, name, value string) string {
	value = doctor.Quote(doctor.Mask(value))
	switch s.Kind {
	case doctor.Unit:
		return "systemctl edit " + doctor.Quote(s.What) + "   # [Service] Environment=" + name + "=" + value
	case doctor.Own:
		return "export " + name + "=" + value
	default:
		return name + "=" + value
	}
}

// twin adds, below the line that sets a variable, the same line for its name in the other case.
func twin(h *doctor.Host, v doctor.Var, other string) *doctor.Change {
	f, ok := h.Files.Read(v.File)
	if !ok {
		return nil
	}
	lines := f.Lines()
	if v.Line < 1 || v.Line > len(lines) {
		return nil
	}
	line := lines[v.Line-1]
	if strings.Count(line, v.Name) != 1 || strings.HasSuffix(line, `\`) || strings.HasPrefix(strings.TrimSpace(line), "Environment") || strings.ContainsAny(line, ";&|") {
		return nil
	}
	return doctor.ReplaceLine(f, v.Line, line+"\n"+strings.Replace(line, v.Name, other, 1))
}
