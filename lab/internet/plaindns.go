package internet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"watertight/capture"
	"watertight/wire"
)

// asked is a message that came to a server of plaintext DNS.
type asked struct {
	Client, Server netip.AddrPort
	Proto          capture.Proto
	Message        []byte
}

// plainServer is a server of plaintext DNS on one host, UDP and TCP. An answer of nil is none.
type plainServer struct {
	in     *Internet
	udp    *net.UDPConn
	tcp    net.Listener
	answer func(asked) []byte
}

const dnsPort = 53

// servePlain opens port 53 on every address of the host, and answers until the internet ends. Queries to addresses
// that are not the host's, but lead here, are answered from the address they were sent to.
func servePlain(h *Host, answer func(asked) []byte) error {
	udp, err := h.ListenUDP(dnsPort)
	if err != nil {
		return err
	}
	tcp, err := h.Listen(dnsPort)
	if err != nil {
		return err
	}
	if err := errors.Join(
		option(udp, unix.IPV6_TRANSPARENT),
		option(udp, unix.IPV6_RECVPKTINFO), // says which address was asked
		option(tcp.(*net.TCPListener), unix.IPV6_TRANSPARENT),
	); err != nil {
		return fmt.Errorf("internet: %w", err)
	}
	s := &plainServer{h.in, udp, tcp, answer}
	h.in.wg.Go(s.serveUDP)
	h.in.wg.Go(s.serveTCP)
	return nil
}

// option sets an option of a socket: IPV6_TRANSPARENT lets it answer from an address that is not the host's. The
// sockets here are of both families at once, and the option serves both.
func option(c syscall.Conn, name int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, name, 1) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("set the IPv6 socket option %d: %w", name, err)
	}
	return nil
}

func (s *plainServer) serveUDP() {
	b, oob := make([]byte, 64<<10), make([]byte, 256)
	for {
		n, oobn, _, from, err := s.udp.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return
		}
		message := append([]byte(nil), b[:n]...)
		info := append([]byte(nil), oob[:oobn]...)
		s.in.wg.Go(func() {
			reply := s.answer(asked{unmap(from), netip.AddrPortFrom(destination(info), dnsPort), capture.UDP, message})
			if reply != nil {
				// The same packet info, sent back, makes the destination the source.
				_, _, _ = s.udp.WriteMsgUDPAddrPort(reply, info, from)
			}
		})
	}
}

// destination reads where a datagram was sent to (RFC 3542, section 6.1).
func destination(oob []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16 {
			return netip.AddrFrom16([16]byte(m.Data)).Unmap()
		}
	}
	return netip.Addr{}
}

const tcpIdle = 10 * time.Second

func (s *plainServer) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.in.wg.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(s.in.ctx, func() { _ = conn.Close() })()
			for s.oneTCP(conn) == nil {
			}
		})
	}
}

// oneTCP answers one message (RFC 1035, section 4.2.2).
func (s *plainServer) oneTCP(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(tcpIdle)); err != nil {
		return err
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	message := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return err
	}
	client, server := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	reply := s.answer(asked{unmap(client), unmap(server), capture.TCP, message})
	if reply == nil {
		return io.EOF
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	return err
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// A question in plaintext is sent so often, and waited for so long each time.
const (
	askTries = 3
	askWait  = time.Second
)

// Ask sends a DNS message from the host to a server in plaintext, as resolvers do among themselves, and gives the
// answer as it came.
func (h *Host) Ask(server netip.AddrPort, message []byte) ([]byte, error) {
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = wire.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("internet: %w", err)
	}
	defer conn.Close()
	b := make([]byte, 64<<10)
	for range askTries {
		if _, err := conn.WriteToUDPAddrPort(message, server); err != nil {
			return nil, fmt.Errorf("internet: ask %v: %w", server, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(askWait))
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			if unmap(from) == server && n >= 2 && string(b[:2]) == string(message[:2]) {
				return b[:n], nil
			}
		}
	}
	return nil, fmt.Errorf("internet: ask %v: no answer", server)
}
