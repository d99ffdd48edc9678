package doctor

import "slices"

// Merge makes one finding of those that state the same fact, with the evidence of all of them: what /etc/environment sets
// is found again in each shell and service.
func Merge(found []Finding) []Finding {
	var merged []Finding
	for _, f := range found {
		i := slices.IndexFunc(merged, func(m Finding) bool { return m.Fact == f.Fact && m.ID == f.ID })
		if i < 0 {
			f.Evidence = slices.Clone(f.Evidence)
			merged = append(merged, f)
			continue
		}
		m := &merged[i]
		for _, e := range f.Evidence {
			if !slices.Contains(m.Evidence, e) {
				m.Evidence = append(m.Evidence, e)
			}
		}
		m.Severity = max(m.Severity, f.Severity)
		if m.Change == nil {
			m.Change = f.Change
		}
	}
	return merged
}

// InScopes looks at each environment of the host; findings that state the same fact are one.
func InScopes(find func(*Host, Scope) []Finding) func(*Host) []Finding {
	return func(h *Host) []Finding {
		var found []Finding
		for _, s := range h.Scopes() {
			for _, f := range find(h, s) {
				f.Evidence = append(slices.Clone(f.Evidence), s.Also()...)
				found = append(found, f)
			}
		}
		return Merge(found)
	}
}
