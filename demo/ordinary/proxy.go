package ordinary

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// proxy serves an address until it is killed.
func proxy(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

// request is what a client asked for, and what it is to be told.
type request struct {
	target       string
	granted, not []byte
}

var errUnknown = errors.New("not a request that this proxy knows")

func serve(near net.Conn) {
	defer near.Close()
	if near.SetDeadline(time.Now().Add(callLimit)) != nil {
		return
	}
	from := bufio.NewReader(near)
	asked, err := greet(from, near)
	if err != nil {
		return
	}
	far, err := net.DialTimeout("tcp", asked.target, callLimit) // the leak
	if err != nil {
		_, _ = near.Write(asked.not)
		return
	}
	defer far.Close()
	if _, err := near.Write(asked.granted); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, from)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
}

func greet(from *bufio.Reader, to io.Writer) (request, error) {
	first, err := from.Peek(1)
	if err != nil {
		return request{}, err
	}
	switch first[0] {
	case 4:
		return socks4a(from)
	case 5:
		return socks5(from, to)
	}
	r, err := http.ReadRequest(from)
	if err != nil {
		return request{}, err
	}
	if r.Method != http.MethodConnect {
		return request{}, errUnknown
	}
	return request{r.Host, []byte("HTTP/1.1 200 OK\r\n\r\n"), []byte("HTTP/1.1 502 Bad Gateway\r\n\r\n")}, nil
}

// socks4a reads a request that hands over a name: its address is 0.0.0.x.
func socks4a(from *bufio.Reader) (request, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(from, head); err != nil {
		return request{}, err
	}
	if _, err := from.ReadString(0); err != nil { // the user
		return request{}, err
	}
	host := net.IP(head[4:8]).String()
	if head[4]|head[5]|head[6] == 0 {
		text, err := from.ReadString(0)
		if err != nil {
			return request{}, err
		}
		host = text[:len(text)-1]
	}
	return request{join(host, head[2:4]), []byte{0, 90, 7: 0}, []byte{0, 91, 7: 0}}, nil
}

// socks5 reads a request of RFC 1928, without authentication.
func socks5(from *bufio.Reader, to io.Writer) (request, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(from, head); err != nil {
		return request{}, err
	}
	if _, err := io.CopyN(io.Discard, from, int64(head[1])); err != nil {
		return request{}, err
	}
	if _, err := to.Write([]byte{5, 0}); err != nil {
		return request{}, err
	}
	head = make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return request{}, err
	}
	var rest []byte
	switch head[3] {
	case 1:
		rest = make([]byte, 4-1+2)
	case 3:
		rest = make([]byte, int(head[4])+2)
	case 4:
		rest = make([]byte, 16-1+2)
	default:
		return request{}, errUnknown
	}
	if _, err := io.ReadFull(from, rest); err != nil {
		return request{}, err
	}
	end := len(rest) - 2
	host := string(rest[:end])
	if head[3] != 3 {
		host = net.IP(append(head[4:5:5], rest[:end]...)).String()
	}
	return request{join(host, rest[end:]), []byte{5, 0, 0, 1, 9: 0}, []byte{5, 4, 0, 1, 9: 0}}, nil
}

func join(host string, port []byte) string {
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
}
