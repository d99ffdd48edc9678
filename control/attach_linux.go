package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"watertight/wire"
)

// Container is a [Source] that carries what contained programs send ([Attach]).
type Container interface {
	// Contain takes a place for a program whose traffic goes through a channel, or as the routes say where the name is empty. It
	// waits until the resolvers of the channels that the program can use have answered. Where there is no such channel the error is
	// an *[UnknownChannelError]; any other says why the program is not carried. leave gives the place back, and is called once.
	Contain(ctx context.Context, channel string) (carry func(context.Context, Guest), leave func(), err error)
}

// Guest is a program that is to be carried.
type Guest struct {
	// Line is the connection to the process that started it, which keeps messages apart (unix(7), SOCK_SEQPACKET). What carries the
	// program closes it; when it ends, the program has ended, or is to have no network.
	Line *net.UnixConn
	// PID is that process; 0 where its number means nothing here.
	PID int
}

// Limits on a program that is attached.
const (
	attachLimit  = 40 * time.Second // for the resolvers to answer
	handLimit    = 10 * time.Second // for a descriptor to come, once all is ready
	attachedTo   = "watertight-exec"
	attachAnswer = 64 << 10 // octets of an answer, at most
)

// addAttach adds the path by which a program is attached, where the source carries any.
func (s *Server) addAttach(p paths) {
	if c, ok := s.o.Source.(Container); ok {
		p["/attach"] = handling{http.MethodPost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.attach(c, w, r) })}
	}
}

// attach answers with 101 (RFC 9110, section 15.2.2) once the program can be carried. One octet comes then with one descriptor,
// an end of a connection that keeps messages apart, and this one has done its work.
func (s *Server) attach(c Container, w http.ResponseWriter, r *http.Request) {
	asked, err := url.ParseQuery(r.URL.RawQuery)
	channel := asked["channel"]
	delete(asked, "channel")
	if err != nil || len(asked) > 0 || len(channel) > 1 || len(channel) == 1 && channel[0] == "" {
		refuse(w, http.StatusBadRequest, "this path takes ?channel=NAME, and no more")
		return
	}
	if r.Header.Get("Upgrade") != attachedTo {
		w.Header().Set("Upgrade", attachedTo)
		refuse(w, http.StatusUpgradeRequired, "this path is for `watertight exec --attach`")
		return
	}
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Now().Add(attachLimit)), control.SetWriteDeadline(time.Now().Add(attachLimit+writeLimit))); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), attachLimit)
	defer cancel()
	carry, leave, err := c.Contain(ctx, strings.Join(channel, ""))
	if err != nil {
		status := http.StatusServiceUnavailable
		if _, unknown := errors.AsType[*UnknownChannelError](err); unknown {
			status = http.StatusUnprocessableEntity
		}
		refuse(w, status, err.Error())
		return
	}
	defer leave()
	conn, buffered, err := control.Hijack()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	guest, err := greet(conn, buffered.Reader)
	_ = conn.Close()
	if err != nil {
		s.o.Log.Warn("a program was not attached", "error", err)
		return
	}
	carry(r.Context(), guest)
}

// greet says that the program can come, and takes its line.
func greet(conn net.Conn, read *bufio.Reader) (g Guest, err error) {
	if s, ok := conn.(*slotted); ok {
		conn = s.Conn
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return g, errors.New("control: descriptors come by UNIX sockets only")
	}
	if read.Buffered() > 0 { // what came with it is lost
		return g, errors.New("control: more was said than asked for")
	}
	if err := u.SetDeadline(time.Now().Add(handLimit)); err != nil {
		return g, err
	}
	peer, err := peerOf(u)
	if err != nil {
		return g, err
	}
	if err := checkUser(peer.Uid); err != nil {
		return g, err
	}
	if _, err := io.WriteString(u, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+attachedTo+"\r\n\r\n"); err != nil {
		return g, err
	}
	_, files, err := wire.TakeOver(u, make([]byte, 1))
	if err != nil {
		return g, err
	}
	if len(files) != 1 {
		for _, f := range files {
			_ = f.Close()
		}
		return g, fmt.Errorf("control: %d descriptors came, and not the one", len(files))
	}
	g.PID = int(peer.Pid)
	g.Line, err = wire.PairOf(files[0])
	return g, err
}

// Attach asks the program that serves socketPath to carry what a contained program sends, through a channel or, where the name is
// empty, as its routes say. It waits until the resolvers have answered, and gives the line by which the sockets are handed over.
// Where there is no such channel the error is an *[UnknownChannelError] or says so.
func Attach(ctx context.Context, socketPath, channel string) (*net.UnixConn, error) {
	line, err := attachTo(ctx, socketPath, channel)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("the running proxy does not carry it: %w", err)
	}
	return line, nil
}

func attachTo(ctx context.Context, socketPath, channel string) (*net.UnixConn, error) {
	conn, err := dial(ctx, socketPath)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the control socket is no UNIX socket")
	}
	if err := u.SetDeadline(time.Now().Add(attachLimit + handLimit)); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = u.SetDeadline(time.Unix(1, 0)) })()
	query := ""
	if channel != "" {
		query = "?channel=" + url.QueryEscape(channel)
	}
	if _, err := io.WriteString(u, "POST /attach"+query+" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "+attachedTo+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(u, attachAnswer)), nil)
	if err != nil {
		return nil, fmt.Errorf("its answer broke off: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusSwitchingProtocols:
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, errors.New("it is of a version that carries no contained programs; restart it with this one")
	default:
		why, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, fmt.Errorf("its answer broke off: %w", err)
		}
		var lines []string
		for line := range strings.Lines(strings.TrimSpace(string(why))) {
			lines = append(lines, clean(strings.TrimRight(line, "\r\n")))
		}
		return nil, errors.New(strings.Join(lines, "\n"))
	}
	here, there, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := wire.HandOver(u, []byte{0}, there); err != nil {
		_ = here.Close()
		return nil, err
	}
	return here, nil
}
