package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testHost has the variables and files of env and files, and nothing else.
func testHost(env, files map[string]string) Host {
	return Host{
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(path string, limit int64) ([]byte, error) {
			text, ok := files[path]
			if !ok {
				return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
			}
			if int64(len(text)) > limit {
				return nil, fmt.Errorf("%w: it has more than %d octets", errTooLarge, limit)
			}
			return []byte(text), nil
		},
		Exposed: func(path string) bool { return strings.HasSuffix(path, ".exposed") },
	}
}

// good reads a configuration that has no error.
func good(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("watertight.yaml", []byte(text), testHost(nil, nil))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return c
}

// bad reads a configuration that has errors.
func bad(t *testing.T, text string) Problems {
	t.Helper()
	_, err := Parse("watertight.yaml", []byte(text), testHost(nil, nil))
	var ps Problems
	if !errors.As(err, &ps) || len(ps) == 0 {
		t.Fatalf("no error in\n%s", text)
	}
	return ps
}

// wantOne wants just one problem at a place, with texts in it.
func wantOne(t *testing.T, ps Problems, line, column int, texts ...string) {
	t.Helper()
	if len(ps) != 1 || ps[0].Line != line || ps[0].Column != column {
		t.Fatalf("want one error at %d:%d, got\n%v", line, column, ps)
	}
	for _, text := range texts {
		if !strings.Contains(ps[0].Error(), text) {
			t.Errorf("want %q in %q", text, ps[0].Error())
		}
	}
}

// write puts a file into a new directory and gives its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
