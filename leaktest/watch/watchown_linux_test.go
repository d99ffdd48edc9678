package watch_test

import (
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/leaktest/watch"
)

// A name that the configuration has is looked for in questions alone: elsewhere it is in its place.
func TestWatch_AQuestionForANameOfItsOwnIsSeenAndNothingElseWithIt(t *testing.T) {
	uplinked(t)
	const host = "gw.Provider.example"
	w := lab.Must(watch.Start(t.Context(), watch.Options{Labels: func() []string { return nil }, Own: []string{host}}))(t)
	ask := func(of string) []byte {
		return lab.Must(dnswire.Query(dnswire.Question{Name: of, Type: dnswire.AAAA}, 7, 0))(t)
	}
	send(t, isp+":53", ask("GW.provider.example"))
	send(t, "198.51.100.54:53", ask("www.provider.example"))
	send(t, "198.51.100.55:53", []byte("?"))
	speak(t, "127.0.0.9:443", hello(t, host))
	q := ask(host)
	speak(t, "127.0.0.9:53", append([]byte{0, byte(len(q))}, q...))
	seen := lab.Must(w.Stop())(t)
	to := map[string]bool{}
	for _, one := range seen.Sightings {
		if one.What == watch.Label {
			to[one.To.String()] = one.Label == strings.ToLower(host) && one.Form == watch.Wire
		}
	}
	if len(to) != 2 || !to[isp+":53"] || !to["127.0.0.9:53"] || seen.Blind != "" {
		t.Errorf("a name of its own: %v, blind %q: %+v", to, seen.Blind, seen.Sightings)
	}
}
