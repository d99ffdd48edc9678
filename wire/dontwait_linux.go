package wire

import "syscall"

// DontWait is the flag by which a batch of datagrams is sent at once or not at all: what has no room is lost, as it is on any
// network. Without it a server waits where the kernel keeps what it sent, as it does for a neighbour that is not there.
const DontWait = syscall.MSG_DONTWAIT
