//go:build !linux

package wire

import (
	"net"
	"net/netip"
	"syscall"
)

// ListenTransparentTCP is for Linux.
func ListenTransparentTCP(netip.AddrPort, uint32) (*net.TCPListener, error) { return nil, ErrNotLinux }

// ListenTransparentUDP is for Linux.
func ListenTransparentUDP(netip.AddrPort, uint32) (*net.UDPConn, error) { return nil, ErrNotLinux }

// ReplyFrom is for Linux.
func ReplyFrom(netip.AddrPort, uint32) (*net.UDPConn, error) { return nil, ErrNotLinux }

// RedirectedFrom is for Linux.
func RedirectedFrom(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, ErrNotLinux }

// OriginalControl is room for what the kernel tells beside a datagram.
const OriginalControl = 0

// OriginalOf is for Linux.
func OriginalOf([]byte) (netip.AddrPort, bool) { return netip.AddrPort{}, false }

// MayMark is for Linux.
func MayMark(uint32) error { return ErrNotLinux }

func setMark(syscall.RawConn, uint32) error { return ErrNotLinux }

// ListenTransparentICMP is for Linux.
func ListenTransparentICMP(bool) (*net.IPConn, error) { return nil, ErrNotLinux }

// SendICMP is for Linux.
func SendICMP(*net.IPConn, []byte, netip.Addr, netip.Addr) error { return ErrNotLinux }
