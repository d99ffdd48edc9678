package control

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer refuses a connection of anyone but this process's user and root (SO_PEERCRED in unix(7)).
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return checkUser(peer.Uid)
}

func checkUser(uid uint32) error {
	if uid != 0 && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("the user %d may not give commands", uid)
	}
	return nil
}
