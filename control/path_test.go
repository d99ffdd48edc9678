package control

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFileName_IsTheAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080":          "127.0.0.1_8080.sock",
		"[::1]:8080":              "__1_8080.sock",
		"[::ffff:127.0.0.1]:8080": "127.0.0.1_8080.sock",
		"0.0.0.0:1":               "0.0.0.0_1.sock",
		"[fe80::1%../../etc]:80":  "fe80__1%.._.._etc_80.sock",
	} {
		got, err := fileName(listen)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", listen, got, err, want)
		}
		if filepath.Base(got) != got {
			t.Errorf("%s: %q is more than a file's name", listen, got)
		}
	}
	for _, listen := range []string{"", "8080", "localhost:8080", "127.0.0.1", "127.0.0.1:0", ":8080"} {
		if got, err := fileName(listen); err == nil {
			t.Errorf("%q: %q", listen, got)
		}
	}
}

func TestPlaces_AreThoseOfTheServiceTheUserAndTheHost(t *testing.T) {
	for _, c := range []struct {
		what string
		uid  int
		env  map[string]string
		want string
	}{
		{"root", 0, nil, "/run/watertight"},
		{"root in a session", 0, map[string]string{"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/watertight"},
		{"a user in a session", 1000, map[string]string{"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/user/1000/watertight /tmp/watertight-1000 /run/watertight"},
		{"a user without one", 1000, nil, "/tmp/watertight-1000 /run/watertight"},
		{"a service", 999, map[string]string{"RUNTIME_DIRECTORY": "/run/watertight"}, "/run/watertight /tmp/watertight-999"},
		{"a service with two", 999, map[string]string{"RUNTIME_DIRECTORY": "/run/a:/run/b"}, "/run/a /tmp/watertight-999 /run/watertight"},
		{"relative paths", 1000, map[string]string{"RUNTIME_DIRECTORY": "a", "XDG_RUNTIME_DIR": "b"}, "/tmp/watertight-1000 /run/watertight"},
	} {
		h := host{uid: c.uid, env: func(k string) string { return c.env[k] }, temp: "/tmp", system: "/run/watertight"}
		var got []string
		for _, p := range h.places() {
			got = append(got, p.dir)
			if strings.HasPrefix(p.dir, "/tmp") && p.service {
				t.Errorf("%s: %s passes without a check", c.what, p.dir)
			}
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestSocketPath_IsInTheDirectoryThatTheServiceManagerGives(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/special")
	if got, err := SocketPath("127.0.0.1:8080"); err != nil || got != "/run/special/127.0.0.1_8080.sock" {
		t.Errorf("SocketPath: %q, %v", got, err)
	}
}
