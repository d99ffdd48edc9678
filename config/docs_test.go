package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fence = regexp.MustCompile("(?ms)^```yaml([^\n]*)\n(.*?)^```$")

// Every example of the documentation loads; one that is marked `yaml fails` is refused.
func TestDocumentation_EveryExampleLoads(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../README.md")
	s := theSchema(t)
	host := testHost(
		map[string]string{"OFFICE_PROXY": "http://user:password@192.0.2.10:3128"},
		map[string]string{"provider-password": "a password\n", "vpn.key": keyA, "proxies.txt": "192.0.2.10:3128:user:password\n"})
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range fence.FindAllStringSubmatchIndex(string(text), -1) {
			count++
			mark, example := strings.TrimSpace(string(text[match[2]:match[3]])), text[match[4]:match[5]]
			line := strings.Count(string(text[:match[0]]), "\n") + 1
			_, err := Parse("example.yaml", example, host)
			switch mark {
			case "":
				if err != nil {
					t.Errorf("%s:%d: %v", file, line, err)
				}
				if !conforms(t, s, s, treeOf(t, string(example))) {
					t.Errorf("%s:%d: the schema refuses it", file, line)
				}
			case "fails":
				if err == nil {
					t.Errorf("%s:%d: it loads", file, line)
				}
			default:
				t.Errorf("%s:%d: what is %q?", file, line, mark)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d examples were found", count)
	}
}

// The file that the package installs loads where its commented-out part stays so.
func TestPackagedFile_Loads(t *testing.T) {
	text, err := os.ReadFile("../packaging/watertight.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("watertight.yaml", text, testHost(nil, nil)); err != nil {
		t.Error(err)
	}
}
