package env

import (
	"strings"

	"watertight/doctor"
)

var noProxyAmbig = doctor.Rule{
	ID: "NOPROXY-AMBIG", Severity: doctor.High,
	Title:   "NO_PROXY has an entry that clients read differently",
	Clients: []string{"all: which names go past the proxy differs"},
	Explain: noProxyText(),
	Find: doctor.InScopes(func(_ *doctor.Host, s doctor.Scope) []doctor.Finding {
		if len(s.Proxies()) == 0 {
			return nil // nothing is proxied that could go past
		}
		var found []doctor.Finding
		for _, v := range s.NoProxies() {
			switch mend := strings.Join(strings.Fields(strings.ReplaceAll(v.Value, ",", " ")), ","); {
			case blankOnly(v.Value):
				found = append(found, ambiguous(v, v.Value, blanks, mend))
			case blankBeside(v.Value):
				found = append(found, ambiguous(v, v.Value, spaced, mend))
			}
			for _, e := range entries(v.Value) {
				f := formOf(e)
				mend, bad := unambiguous(e, f)
				if bad {
					found = append(found, ambiguous(v, e, f, mend))
				}
			}
		}
		return doctor.Merge(found)
	}),
}

// blankOnly says whether entries are told apart by blanks alone, somewhere.
func blankOnly(value string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if len(strings.Fields(part)) > 1 {
			return true
		}
	}
	return false
}

// blankBeside says whether a comma has a blank beside it, somewhere.
func blankBeside(value string) bool {
	for part := range strings.SplitSeq(strings.TrimSpace(value), ",") {
		if part != strings.TrimSpace(part) {
			return true
		}
	}
	return false
}

// unambiguous is what to write in place of an entry, if it is one that clients read differently.
func unambiguous(e string, f form) (mend string, bad bool) {
	host, _, _ := strings.Cut(e, ":")
	switch f {
	case starred:
		name := strings.TrimPrefix(e, "*.")
		return name + ",." + name, true
	case capitals:
		return strings.ToLower(e), true
	case port443, otherPort:
		return host + ",." + strings.TrimPrefix(host, "."), true
	case cidr:
		return "ADDRESS,ADDRESS", true // each that is meant
	}
	return "", false
}

func ambiguous(v doctor.Var, e string, f form, mend string) doctor.Finding {
	past, through := readers(f)
	return doctor.Finding{
		Fact:     "clients disagree about the entry " + e + " of " + strings.ToUpper(v.Name),
		Evidence: []string{v.String()},
		Clients:  []string{"past the proxy: " + strings.Join(past, ", "), "through it: " + strings.Join(through, ", ")},
		Fix:      "# in " + v.Name + ", in place of " + doctor.Plain(e) + ":\n" + doctor.Quote(mend),
	}
}

// noProxyText is the table for people.
func noProxyText() string {
	var b strings.Builder
	b.WriteString(`There is no standard for NO_PROXY. Measured for the name api.x.example, D goes past the proxy, P through it:

                       name .name *.name  *  o,name o, name o name NAME :443 :8443 ame  addr addr/CIDR name/CIDR
`)
	width := []int{4, 5, 6, 4, 6, 7, 6, 4, 4, 5, 4, 4, 9, 9}
	for _, r := range reading {
		b.WriteString(pad(r.client, 22))
		for i := range forms {
			b.WriteString(" " + pad(r.how[i:i+1], width[i]))
		}
		b.WriteString("\n")
	}
	b.WriteString(`
For subdomains only the form with a leading dot is read alike by all; for the name itself axios, proxy-agent and Node's https want
it without. requests, grpcio and grpc-js match the end of a label too. A network never matches a name, but in Ruby, which looks the
name up to find out. Write name,.name for each, with commas and no blanks, in lower case, without
ports, stars and networks.`)
	return b.String()
}

func pad(s string, width int) string {
	if len(s) >= width {
		return s
	}
	return s + strings.Repeat(" ", width-len(s))
}
