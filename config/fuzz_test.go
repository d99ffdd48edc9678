package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse wants of any file: no panic; errors with a place and no steering of terminals; no secret in them; and of a
// good file, that what Show prints is good too and says the same.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{
		"", everyKey, "{", "[[[[", "a: b: c", "- - -", "? a", "&a *a", "a: |\n b\n  c", "\ta", "\"", "'", "a: !!x y", "%YAML 1.2\n---\n", "{a: [1:2, ::1, b:]}",
		`{"listen":{"proxy":"127.0.0.1:1"},"log":{"names":true}}`, "log: {level: '${env:S}'}", "channels: {a: {proxy: 'socks5://u:${env:S}@h:1', resolve: exit}}\nroutes: [{to: '*', channel: a}]",
	} {
		f.Add([]byte(seed))
	}
	const secret = "s3cr3t/@:value"
	host := testHost(map[string]string{"S": secret}, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 64<<10 {
			return
		}
		c, err := Parse("f.yaml", text, host)
		var ps Problems
		switch {
		case errors.As(err, &ps):
			for _, p := range ps {
				if p.Line < 1 || p.Column < 1 || p.What == "" || p.Mend == "" || !utf8.ValidString(p.Error()) || strings.ContainsAny(p.Error(), "\x1b\n\r") {
					t.Errorf("%+v", p)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the secret is shown: %v", err)
			}
			return
		case err != nil:
			t.Fatalf("not a Problems: %v", err)
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(shown), secret) {
			t.Errorf("the secret is shown: %s", shown)
		}
		again, err := Parse("f.yaml", shown, host)
		if err != nil {
			t.Fatalf("%v\nin\n%s\nfrom\n%s", err, shown, text)
		}
		if twice, _ := again.Show(); string(twice) != string(shown) {
			t.Errorf("%s\nbecame\n%s", shown, twice)
		}
	})
}
