package wire

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnswersAtPath_sees(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120)) // longer than an address has room for
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, network := range []string{"unix", "unixpacket"} {
		ln, err := net.Listen(network, network)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "unixgram", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: "dead", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"unix": true, "unixpacket": true, "unixgram": true, "dead": false, "file": false, "none": false, "file/x": false} {
		if got, err := AnswersAtPath(filepath.Join(dir, name)); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// Nobody takes connections, and the queue is full at last.
	for range 10_000 {
		if got, err := AnswersAtPath(filepath.Join(dir, "unix")); !got || err != nil {
			t.Fatalf("a full queue: %v, %v", got, err)
		}
	}
	if _, err := AnswersAtPath(strings.Repeat("x", 1<<13)); err == nil {
		t.Error("a path that cannot be tried is no error")
	}
}
