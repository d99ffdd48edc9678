package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"watertight/capture"
)

func TestFinder_FindsWhatSearchFindsInEveryDisguise(t *testing.T) {
	names := []string{name, "abcdefghijklmnopqrst"}
	for i := range 40 { // others, which are not there
		names = append(names, fmt.Sprintf("other%02dlabel22%06d", i, i*7919))
	}
	f, err := capture.NewFinder(names)
	if err != nil {
		t.Fatal(err)
	}
	for disguise, payload := range disguises(name) {
		p := udp(t, client, server, payload)
		hits := capture.Search([]capture.Packet{p}, name)
		found := f.Find(p.Frame)
		if len(hits) != 1 || len(found) != 1 || found[0].Name != name {
			t.Errorf("%s: Search has %d, the finder %v", disguise, len(hits), found)
		}
	}
	if found := f.Find([]byte("x" + strings.ToUpper(names[1]) + "y" + name)); len(found) != 2 {
		t.Errorf("of two names it found %v", found)
	}
	for _, innocent := range []string{"", "k7q2v", "k7q2vx.probe.example.org", strings.Repeat("\xff\xfe", 700)} {
		if found := f.Find([]byte(innocent)); len(found) != 0 {
			t.Errorf("found %v in %q", found, innocent)
		}
	}
}

func TestFinder_TakesNoNameThatOccursByChance(t *testing.T) {
	if _, err := capture.NewFinder([]string{"abc"}); err == nil {
		t.Error("a name of three octets was taken")
	}
	f, err := capture.NewFinder(nil)
	if err != nil || f.Find([]byte("anything at all")) != nil {
		t.Errorf("without names: %v", err)
	}
}

func BenchmarkFinder(b *testing.B) {
	var names []string
	for i := range 64 {
		names = append(names, fmt.Sprintf("abcdefghijklm%07d", i*104729))
	}
	f, err := capture.NewFinder(names)
	if err != nil {
		b.Fatal(err)
	}
	packet := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog; 0123456789.", 27)[:1500])
	b.SetBytes(int64(len(packet)))
	for b.Loop() {
		f.Find(packet)
	}
}
