package canary

import (
	"fmt"
	"slices"
)

// verdict is what a visit comes to, in words.
type verdict struct {
	Mark     mark
	Headline string
	Text     []string
	Mend     bool // the page shows how to mend it
}

// notSeen is what no canary can see, and what each verdict is limited by.
const notSeen = "The canary sees who asked it and who came. It cannot see what passed between you and your resolver: that takes the command “watertight test” on your own machine."

// judge says what who asked and who came come to. It is never better than what was seen.
func judge(v *view, over bool) verdict {
	if len(v.Resolvers) == 0 {
		switch {
		case !v.Known:
			return verdict{unknown, "Nothing is known of this visit", []string{"It is over for more than an hour, or it has never begun. What is seen is kept for an hour, and in memory only."}, false}
		case !over:
			return verdict{unknown, "Listening for your resolver …", []string{"Your browser is fetching pictures from names that nobody has ever looked up. Whoever resolves them has to ask this canary."}, false}
		}
		return verdict{note, "Nobody asked", []string{
			"Your browser came here, but no resolver asked for the names of this visit. Pictures may be blocked, or the names were refused on the way.",
		}, false}
	}
	if len(v.Visitors) == 0 {
		return verdict{unknown, "Nobody has come to compare it with", []string{
			"The names of this visit were looked up by " + whose(v.Resolvers) + ". Whether your traffic takes the same way shows when you fetch one of them by it.",
			notSeen,
		}, false}
	}
	if places := nets(v.Visitors); len(places) > 1 {
		return verdict{bad, "You come from two networks", []string{
			"Your requests reached this page from " + inWords(places) + ". If you use a proxy or VPN, a part of your traffic goes around it: often that is IPv6.",
			notSeen,
		}, true}
	}
	var same, elsewhere, far []resolverView
	for _, r := range v.Resolvers {
		switch r.Match {
		case good:
			same = append(same, r)
		case bad:
			far = append(far, r)
			elsewhere = append(elsewhere, r)
		default:
			elsewhere = append(elsewhere, r)
		}
	}
	switch {
	case len(elsewhere) == 0:
		return verdict{good, "Names and traffic come from the same network", []string{
			"Whoever carries your requests also looks up your names. If that is the proxy or VPN that you meant to use, no name leaks here. If it is your own provider, you are not using one.",
			notSeen,
		}, false}
	case len(same) > 0:
		return verdict{bad, "Some names are looked up elsewhere", []string{
			"The network that you come from looked up some of the names, and others were looked up by " + whose(elsewhere) + ". Names that go two ways are the usual sign of a leak: one of the two was not meant to see them.",
			notSeen,
		}, true}
	case len(far) > 0:
		return verdict{bad, "Your names take another way than your traffic", []string{
			"You come from " + v.Visitors[0].where() + ", and your names are looked up by " + whose(far) + ". Behind a proxy or VPN that is a leak, unless you chose this resolver and reach it through the proxy. Either way it tells sites that you are not where you seem to be.",
			notSeen,
		}, true}
	case len(nets(parties(elsewhere))) > 1:
		return verdict{note, "Several networks look up your names", []string{
			"Your names were looked up by " + whose(elsewhere) + ". Do you know them all? One that you did not choose, such as that of your own provider behind a proxy, is a leak.",
			notSeen,
		}, true}
	}
	return verdict{note, "Another network looks up your names", []string{
		"You come from " + v.Visitors[0].where() + ", and your names are looked up by " + whose(elsewhere) + ". That is well if you chose this resolver and reach it through your proxy. If it is your own provider's, your names go around the proxy.",
		notSeen,
	}, true}
}

func parties(all []resolverView) (out []party) {
	for _, r := range all {
		out = append(out, r.party)
	}
	return out
}

// nets gives the networks of addresses, each once.
func nets(all []party) (out []string) {
	var kept []party
	for _, p := range all {
		if !slices.ContainsFunc(kept, func(q party) bool { return !p.apart(q) }) {
			kept = append(kept, p)
			out = append(out, p.where())
		}
	}
	return out
}

// apart says that two addresses are surely of two networks. Of addresses of different families that is not known without data.
func (p party) apart(q party) bool {
	if p.number != 0 && q.number != 0 {
		return p.number != q.number
	}
	return p.Address.Is4() == q.Address.Is4() && vicinity(p.Address) != vicinity(q.Address)
}

// where says in words where somebody is.
func (p party) where() string {
	if p.Network != "" {
		return p.Network + " (" + p.Address.String() + ")"
	}
	return p.Address.String()
}

// whose names resolvers.
func whose(all []resolverView) string {
	return inWords(nets(parties(all)))
}

// inWords is some of a list in words.
func inWords(all []string) string {
	const most = 3
	if len(all) > most {
		return fmt.Sprintf("%s and %d others", joined(all[:most], ", "), len(all)-most)
	}
	return joined(all, " and ")
}

func joined(all []string, last string) string {
	switch len(all) {
	case 0:
		return ""
	case 1:
		return all[0]
	}
	text := all[0]
	for _, s := range all[1 : len(all)-1] {
		text += ", " + s
	}
	return text + last + all[len(all)-1]
}
