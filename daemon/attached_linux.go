package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"watertight/contain"
	"watertight/contain/network"
	"watertight/wire"
)

// A running daemon and the process of `watertight exec --attach` talk in messages of JSON with sockets beside them. The daemon asks
// for sockets that are opened inside, by their numbers, and the other gives them.
type (
	toExec struct {
		ID   int            `json:"id,omitempty"`
		From netip.AddrPort `json:"from,omitzero"` // what the socket that is wanted sends from
		// Served says that the program's sockets are heard from now on.
		Served bool `json:"served,omitempty"`
		// Did is the answer to Ended.
		Did *Summary `json:"did,omitempty"`
		// Failed is why the program is not carried, or not any more.
		Failed string `json:"failed,omitempty"`
	}
	toDaemon struct {
		ID      int      `json:"id,omitempty"`
		Failed  string   `json:"failed,omitempty"`
		Sockets []string `json:"sockets,omitempty"` // that come with it, of the program: the first word
		Ended   bool     `json:"ended,omitempty"`   // the program has, and what it did is asked for: the last word
	}
)

// Limits on what is said.
const (
	maxAttachTalk = 4 << 10          // octets of a message
	sayWait       = 10 * time.Second // for the other to have room for a message
	socketsWait   = 60 * time.Second // for the program's network to be made
	replyWait     = 10 * time.Second // for a socket
)

// tell sends a message.
func tell(line *net.UnixConn, message any, sockets ...syscall.Conn) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxAttachTalk {
		return fmt.Errorf("a message of %d octets", len(b))
	}
	if err := line.SetWriteDeadline(time.Now().Add(sayWait)); err != nil {
		return err
	}
	return wire.HandOver(line, b, sockets...)
}

// heed reads a message into what message points to. The end is io.EOF.
func heed(line *net.UnixConn, b []byte, message any) ([]*os.File, error) {
	n, files, err := wire.TakeOver(line, b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		err = json.Unmarshal(b[:n], message)
	}
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// errLineEnded is that the process which started a program is gone, and the program with it.
var errLineEnded = errors.New("the program has ended")

// line is the daemon's end of a conversation about one program.
type line struct {
	conn *net.UnixConn

	mu      sync.Mutex
	asked   int
	waiting map[int]chan opened // nil when the conversation has ended
}

type opened struct {
	file *os.File
	err  error
}

// sockets waits for the program's sockets, which are the first word.
func (l *line) sockets() (network.Sockets, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(socketsWait)); err != nil {
		return network.Sockets{}, err
	}
	var w toDaemon
	files, err := heed(l.conn, make([]byte, maxAttachTalk), &w)
	if err != nil {
		return network.Sockets{}, err
	}
	s, err := contain.SocketsOf(w.Sockets, files)
	if err != nil {
		return network.Sockets{}, err
	}
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil {
		return network.Sockets{}, errors.Join(err, s.Close())
	}
	return s, nil
}

// listen hears the sockets that were asked for, until the other end is gone or says what it should not, or that the program
// has ended: then it is true.
func (l *line) listen() (ended bool) {
	b := make([]byte, maxAttachTalk)
	for {
		var w toDaemon
		files, err := heed(l.conn, b, &w)
		if err == nil && w.Ended {
			closeFiles(files)
			ended = true
			break
		}
		if err != nil || !l.take(w, files) {
			break
		}
	}
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, one := range waiting {
		one <- opened{err: errLineEnded}
	}
	return ended
}

// take takes an answer; false means that it is none.
func (l *line) take(w toDaemon, files []*os.File) bool {
	l.mu.Lock()
	one := l.waiting[w.ID]
	delete(l.waiting, w.ID)
	l.mu.Unlock()
	switch {
	case len(w.Sockets) > 0 || len(files) > 1 || w.ID == 0:
		closeFiles(files)
		if one != nil {
			one <- opened{err: errLineEnded}
		}
		return false
	case one == nil: // it came too late
		closeFiles(files)
	case w.Failed != "" || len(files) == 0:
		closeFiles(files)
		one <- opened{err: errors.New("the socket could not be opened inside")}
	default:
		one <- opened{file: files[0]}
	}
	return true
}

// replyFrom has a socket opened inside that sends from an address.
func (l *line) replyFrom(at netip.AddrPort) (*net.UDPConn, error) {
	one := make(chan opened, 1)
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return nil, errLineEnded
	}
	l.asked++
	id := l.asked
	l.waiting[id] = one
	l.mu.Unlock()
	if err := tell(l.conn, toExec{ID: id, From: at}); err != nil {
		l.forget(id, one)
		return nil, err
	}
	timer := time.NewTimer(replyWait)
	defer timer.Stop()
	select {
	case o := <-one:
		if o.err != nil {
			return nil, o.err
		}
		return wire.UDPOf(o.file)
	case <-timer.C:
		l.forget(id, one)
		return nil, errors.New("no socket came from inside")
	}
}

// forget gives up on an answer. One that came at the last moment is closed.
func (l *line) forget(id int, one chan opened) {
	l.mu.Lock()
	_, still := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if still {
		return
	}
	if o := <-one; o.file != nil { // whoever took it out sends
		_ = o.file.Close()
	}
}
