package hull_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// automounter mounts one at a path, and refuses whatever it is asked for. What it gives tells what that was, and ends it.
func automounter(t *testing.T, path string) (asked func() string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Processes of its group are not served, which the programs of the test must not be in.
	own := exec.Command("/bin/cat")
	own.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := own.StdinPipe()
	if err == nil {
		err = own.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect", w.Fd(), own.Process.Pid)
	if err := unix.Mount("automounter", path, "autofs", 0, options); err != nil {
		hold.Close()
		_ = own.Wait()
		t.Skipf("NOT TESTED: this kernel has no automounter: %v", err)
	}
	w.Close() // the mount holds it
	root, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	at := int(root.Fd())
	var names []string
	var served sync.WaitGroup
	served.Go(func() {
		packet := make([]byte, 304) // struct autofs_v5_packet (linux/auto_fs.h), padded
		for {
			n, err := r.Read(packet)
			if err != nil || n < 300 {
				return
			}
			length := binary.NativeEndian.Uint32(packet[40:])
			names = append(names, string(bytes.TrimRight(packet[44:44+length], "\x00")))
			const fail = 0x9361 // AUTOFS_IOC_FAIL
			_ = unix.IoctlSetInt(at, fail, int(binary.NativeEndian.Uint32(packet[8:])))
		}
	})
	var once sync.Once
	end := func() {
		once.Do(func() {
			const catatonic = 0x9362 // AUTOFS_IOC_CATATONIC
			_ = unix.IoctlSetInt(at, catatonic, 0)
			served.Wait()
			root.Close()
			r.Close()
			_ = unix.Unmount(path, unix.MNT_DETACH)
			hold.Close()
			_ = own.Wait()
		})
	}
	t.Cleanup(end)
	return func() string {
		end()
		return strings.Join(names, " ")
	}
}
