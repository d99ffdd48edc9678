package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestSmoke(t *testing.T) {
	t.Setenv("WATERTIGHT_TEST_PASSWORD", "correct horse")
	fs, _ := filepath.Glob("testdata/wrong/*.yaml")
	for _, f := range fs {
		b, _ := os.ReadFile(f)
		c, err := Parse(filepath.Base(f), b, ThisHost())
		fmt.Printf("=== %s\n%v\n", f, err)
		_ = c
	}
	s, err := Default().Show()
	fmt.Println(string(s), err)
	s, err = Default().ShowJSON()
	fmt.Println(string(s), err)
}
