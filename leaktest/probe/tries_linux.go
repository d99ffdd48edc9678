package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"watertight/dnswire"
	"watertight/wire"
)

// synthetic is where the addresses lie that stand for names inside (RFC 2544).
var synthetic = netip.MustParsePrefix("198.18.0.0/15")

// errno is the name of what the kernel said, if it did.
func errno(err error) string {
	var n syscall.Errno
	if errors.As(err, &n) {
		return unix.ErrnoName(n)
	}
	return ""
}

// failed says what an error is.
func failed(err error) Result {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() && errno(err) != "ETIMEDOUT" {
		return Silent
	}
	return Refused
}

// dial connects, from the network of the program inside.
func dial(network string, to netip.AddrPort) (net.Conn, error) {
	conn, err := wire.DialContained(network, to)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(tryLimit)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// asking asks a resolver for a name.
func asking(id, network string, to netip.AddrPort, host string, held ...Result) attempt {
	return attempt{id, "a question for " + host + " over " + strings.ToUpper(network), to.String(), held, func() (Result, string, error) {
		q, number := dnswire.Question{Name: host, Type: dnswire.A}, uint16(rand.Uint32())
		query, err := dnswire.Query(q, number, 0)
		if err != nil {
			return Refused, "", err
		}
		reply, err := exchange(network, to, query)
		if err != nil {
			return failed(err), "", err
		}
		a, err := dnswire.ParseAnswer(reply, q, number)
		if err != nil {
			return Unclear, "what is no answer", err
		}
		result, said := byWhom(a)
		return result, said, nil
	}}
}

// byWhom says whether an answer is one of what carries the program: its addresses stand for names, which nobody else's do.
func byWhom(a *dnswire.Answer) (Result, string) {
	addrs := a.Addrs()
	for _, addr := range addrs {
		if !synthetic.Contains(addr) {
			return Elsewhere, "an address that stands for no name: " + addr.String()
		}
	}
	switch {
	case a.RCode == dnswire.Refused || a.RCode == dnswire.ServFail:
		return Refused, fmt.Sprint("an answer with code ", a.RCode)
	case len(addrs) == 0:
		return Elsewhere, fmt.Sprintf("an answer with code %d and without an address", a.RCode)
	}
	return Answered, addrs[0].String() + ", which stands for the name"
}

// exchange sends a question and reads the reply.
func exchange(network string, to netip.AddrPort, query []byte) ([]byte, error) {
	conn, err := dial(network, to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if network == "tcp" { // RFC 1035, section 4.2.2
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, 4096)
	if network == "udp" {
		n, err := conn.Read(b)
		return b[:n], err
	}
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return nil, err
	}
	n := min(int(binary.BigEndian.Uint16(b)), len(b))
	_, err = io.ReadFull(conn, b[:n])
	return b[:n], err
}

// knocking begins to speak to a server, which must not be reached. It is not a hello: whoever is there replies to what it is not.
func knocking(id, network string, to netip.AddrPort) attempt {
	return attempt{id, "a connection over " + strings.ToUpper(network), to.String(), []Result{Refused}, func() (Result, string, error) {
		conn, err := dial(network, to)
		if err != nil {
			return failed(err), "", err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
			return failed(err), "", err
		}
		n, err := conn.Read(make([]byte, 512))
		if n > 0 {
			return Answered, fmt.Sprint(n, " octets"), nil
		}
		if errors.Is(err, io.EOF) {
			return Refused, "the connection was ended", nil
		}
		return failed(err), "", err
	}}
}

// calling asks the neighbours for a name: it must not even be sent.
func calling(to netip.AddrPort, host string) attempt {
	return attempt{Neighbour, "a question to the neighbours", to.String(), []Result{Refused}, func() (Result, string, error) {
		query, err := dnswire.Query(dnswire.Question{Name: host, Type: dnswire.A}, 0, 0)
		if err != nil {
			return Refused, "", err
		}
		conn, err := dial("udp", to)
		if err != nil {
			return Refused, "", err
		}
		defer conn.Close()
		if _, err := conn.Write(query); err != nil {
			return Refused, "", err
		}
		return Answered, "it was sent", nil
	}}
}

// serving tries a socket of the file system.
func serving(path string) attempt {
	return attempt{Socket, "a socket of the file system", path, []Result{Absent}, func() (Result, string, error) {
		answers, err := wire.AnswersAtPath(path)
		switch {
		case err != nil:
			return Unclear, "", err
		case answers:
			return Answered, "somebody listens there", nil
		}
		return Absent, "", nil
	}}
}

// ofUser are the sockets of the user's own message bus and resolver.
func ofUser() (paths []string) {
	dir := fmt.Sprintf("/run/user/%d", os.Getuid())
	paths = append(paths, dir+"/bus", dir+"/systemd/private")
	if path, ok := strings.CutPrefix(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path="); ok {
		path, _, _ = strings.Cut(path, ",")
		paths = append(paths, path)
	}
	return paths
}

// alone looks for other interfaces than loopback.
func alone() attempt {
	return attempt{Device, "interfaces besides loopback", "", []Result{Absent}, func() (Result, string, error) {
		faces, err := net.Interfaces()
		if err != nil {
			return Unclear, "", err
		}
		for _, f := range faces {
			if f.Flags&net.FlagLoopback == 0 {
				return Answered, f.Name, nil
			}
		}
		return Absent, "", nil
	}}
}

// bound binds a socket to an interface of the host.
func bound(device string) attempt {
	return attempt{Device, "a socket that is bound to an interface (SO_BINDTODEVICE)", device, []Result{Absent}, func() (Result, string, error) {
		conn, err := wire.DialContainedBy(device, "udp", netip.AddrPortFrom(nobody4, 443))
		if err == nil {
			_ = conn.Close()
			return Answered, "it is there", nil
		}
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EPERM) {
			return Absent, "", err
		}
		return Unclear, "", err
	}}
}

// packets opens a socket that sends packets past the firewall.
func packets(index int) attempt {
	return attempt{Raw, "a socket of packets (AF_PACKET)", "", []Result{Refused}, func() (Result, string, error) {
		open := func() (*wire.CaptureSocket, error) { return wire.OpenCapture(index) }
		if index == 0 {
			open = wire.OpenCaptureEverywhere
		}
		socket, err := open()
		if err != nil {
			if errors.Is(err, wire.ErrNoCapture) {
				err = unix.EPERM
			}
			return Refused, "", err
		}
		_ = socket.Close()
		return Answered, "it was opened", nil
	}}
}
