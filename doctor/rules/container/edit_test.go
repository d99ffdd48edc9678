package container

import (
	"strings"
	"testing"

	"watertight/doctor/doctortest"
	"watertight/doctor/read"
)

func TestAMemberIsPutIntoAnObjectThatStaysOne(t *testing.T) {
	for text, want := range map[string]bool{
		"{}": true, "{ }\n": true, "{\n  \"a\": {\"dns\": 1}\n}\n": true, "\n\n{\"a\":1}": true,
		"": false, "[]": false, "{": false, `{"dns": []}`: false, "{\"a\":1} {}": false,
	} {
		o := doctortest.Read(t, t.Name(), []byte("A file.\n-- f --\n"+text)).Options(t)
		h := doctortest.Open(t, o)
		f, ok := h.Files.Read("/f")
		if !ok {
			t.Fatal("no file")
		}
		c := withMember(f, "dns", `["172.17.0.1"]`)
		if (c != nil) != want {
			t.Errorf("%q: a change is %v", text, c != nil)
		}
		if c == nil {
			continue
		}
		before, err := read.ParseJSON(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Apply(c); err != nil {
			t.Fatal(err)
		}
		again, _ := doctortest.Open(t, o).Files.Read("/f")
		after, err := read.ParseJSON(again.Data)
		if err != nil || len(after.Fields) != len(before.Fields)+1 || strings.Join(after.Get("dns").Texts(), "") != "172.17.0.1" {
			t.Errorf("%q became %q: %v", text, again.Data, err)
		}
	}
}
