package hop

import (
	"fmt"
	"strings"
	"testing"
)

func TestAListIsReadInAllItsForms(t *testing.T) {
	text := "\ufeff# from the provider\n\n192.0.2.1:1080\r\n gw.example:1081:user:pa:ss{x}%40 \n[2001:db8::1]:9:u:p\nhttp://u%2b:p%40@gw.example:3128\nsocks5h://gw.example\n"
	list, bad := ParseList([]byte(text), SchemeSOCKS5, "")
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for i, want := range []string{"socks5://192.0.2.1:1080", "socks5://user:***@gw.example:1081", "socks5://u:***@[2001:db8::1]:9", "", "socks5://gw.example:1080"} {
		if want != "" && list[i].String() != want {
			t.Errorf("line %d: %v, want %s", i, list[i], want)
		}
	}
	if len(list) != 5 || list[1].Password != "pa:ss{x}%40" {
		t.Errorf("%d proxies: %v", len(list), list)
	}
}

func TestAListWithOneBadLineIsNotReadAtAll(t *testing.T) {
	for line, want := range map[string]string{
		"gw.example":                     "write HOST:PORT",
		"gw.example:0":                   "write HOST:PORT",
		"gw.example:1080:hunter2":        "write HOST:PORT",
		"gw.example:1080::hunter2":       "write HOST:PORT",
		"user:hunter2@gw.example:1080":   "write HOST:PORT",
		"2001:db8::1:1080":               "write HOST:PORT",
		"[2001:db8::1]1080":              "write HOST:PORT",
		"[2001:db8::1:1080":              "write HOST:PORT",
		"ftp://gw.example:1":             "unknown scheme",
		"socks5://a{sesion}:hunter2@h:1": "unknown place",
		"gw.example:1:a\x01:hunter2":     "control character",
		"192.0.2.1:1":                    "the same as line 1",
		"\xff.example:1":                 "UTF-8",
		"gw.example:1:" + strings.Repeat("a", 300) + ":hunter2": "at most 255 octets",
	} {
		list, bad := ParseList([]byte("192.0.2.1:1\n"+line+"\n192.0.2.2:1\n"), SchemeSOCKS5, "")
		if len(list) != 0 || len(bad) != 1 || !strings.HasPrefix(bad[0].Error(), "line 2: ") || !strings.Contains(bad[0].Error(), want) {
			t.Errorf("%.40q: %v, %v", line, list, bad)
		}
		if s := fmt.Sprint(bad); strings.Contains(s, "hunter2") {
			t.Errorf("%.40q: the error shows a password: %v", line, bad)
		}
	}
}

func TestAListHasLimits(t *testing.T) {
	if _, bad := ParseList([]byte("# nothing\n"), SchemeHTTP, ""); len(bad) != 1 || !strings.Contains(bad[0].Error(), "no proxy") {
		t.Error(bad)
	}
	if _, bad := ParseList([]byte("192.0.2.1:1\n"), "", ""); len(bad) != 1 || !strings.Contains(bad[0].Error(), "scheme") {
		t.Error(bad)
	}
	if _, bad := ParseList([]byte(strings.Repeat("x\n", 1000)), SchemeHTTP, ""); len(bad) != maxListBad {
		t.Errorf("%d errors", len(bad))
	}
	var b strings.Builder
	for i := range MaxMembers + 1 {
		fmt.Fprintf(&b, "10.%d.%d.%d:1\n", i>>16, i>>8&255, i&255)
	}
	if _, bad := ParseList([]byte(b.String()), SchemeHTTP, ""); len(bad) != 1 {
		t.Errorf("%d errors", len(bad))
	}
	if _, bad := ParseList(make([]byte, MaxList+1), SchemeHTTP, ""); len(bad) != 1 {
		t.Errorf("%d errors", len(bad))
	}
}

func TestAListOfAccountsTakesATemplate(t *testing.T) {
	list, bad := ParseList([]byte("gw.example:7777:acme:hunter2\n"), SchemeHTTP, "oxylabs")
	if len(bad) > 0 || list[0].Template.Provider() != "oxylabs" {
		t.Errorf("%v, %v", list, bad)
	}
	if _, bad := ParseList([]byte("gw.example:7777:customer-acme:hunter2\n"), SchemeHTTP, "oxylabs"); len(bad) != 1 || strings.Contains(bad[0].Error(), "hunter2") {
		t.Error(bad)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("192.0.2.1:1080\ngw.example:1081:user:pa:ss\n[::1]:9:u:p\nhttp://u:p@h:1\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, template string) {
		list, bad := ParseList(text, SchemeSOCKS5, template)
		if (len(list) == 0) == (len(bad) == 0) {
			t.Errorf("%d proxies and %d errors", len(list), len(bad))
		}
		for _, p := range list {
			if err := p.validate(); err != nil {
				t.Error(err)
			}
		}
	})
}
