package control

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

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

func TestSocketPath_IsOfThisProcessInTheDirectoryThatTheServiceManagerGives(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/special")
	if got, want := SocketPath(), "/run/special/"+strconv.Itoa(os.Getpid())+".sock"; got != want {
		t.Errorf("SocketPath: %q, want %q", got, want)
	}
}
