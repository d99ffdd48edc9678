package control

import (
	"os"
	"testing"
)

func TestCommands_AreTakenFromTheOwnUserAndRootOnly(t *testing.T) {
	own := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{0: true, own: true, own + 1: false, 65534: false} {
		if err := checkUser(uid); (err == nil) != want {
			t.Errorf("user %d: %v", uid, err)
		}
	}
}
