//go:build !unix

package mixed

import "net"

// firstOctets waits until the client has said something, and gives its first octet.
func firstOctets(conn *net.TCPConn) (head []byte, err error) {
	head = make([]byte, 1)
	n, err := conn.Read(head)
	return head[:n], err
}
