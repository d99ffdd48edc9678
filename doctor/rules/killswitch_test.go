package rules

import (
	"slices"
	"testing"

	"watertight/doctor"
	"watertight/doctor/doctortest"
)

func TestAFirewallThatMayNotBeSeen_isSaidNotToBe(t *testing.T) {
	picked, err := doctor.Pick(All(), []string{"KILL-SWITCH"})
	if err != nil {
		t.Fatal(err)
	}
	const transparent = "-- CONFIG --\nlisten: {transparent: \"127.0.0.1:8081\"}\n"
	for text, want := range map[string]string{
		transparent: "the rules of the firewall that the kernel has: it tells them to root alone",
		transparent + "-- FIREWALL --\n{}\n-- proc/net/ip6_tables_names --\nmangle\n": "the rules of iptables (not of nf_tables), which may hand over to Watertight",
		"": "",
	} {
		o := doctortest.Read(t, "host", []byte("x\n"+text)).Options(t)
		o.FirewallUnseen = "it tells them to root alone"
		r := doctor.Run(t.Context(), doctortest.Open(t, o), picked)
		if len(r.Findings) > 0 || (want == "") != (len(r.Unseen) == 0) || want != "" && !slices.Contains(r.Unseen, want) {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

func TestAGuardThatMayNotBeLookedAt_isSaidNotToBe(t *testing.T) {
	picked, err := doctor.Pick(All(), []string{"KILL-SWITCH"})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"-- CONFIG --\nguard: {allow: [10.0.0.0/8]}\n": {"whether the guard of this host holds: it takes rights"},
		"": nil,
	} {
		o := doctortest.Read(t, "host", []byte("x\n"+text)).Options(t)
		o.GuardUnseen = "it takes rights"
		if r := doctor.Run(t.Context(), doctortest.Open(t, o), picked); len(r.Findings) > 0 || !slices.Equal(r.Unseen, want) {
			t.Errorf("%q: %+v", text, r)
		}
	}
}
