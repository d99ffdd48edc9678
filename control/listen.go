package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"watertight/wire"
)

// ErrRunning says that another program serves the control socket: one with the same process number, in a container.
var ErrRunning = errors.New("another Watertight serves this control socket")

// Limits on opening a socket.
const (
	answerLimit = time.Second     // for a program that may be alive to accept a connection
	lockLimit   = 5 * time.Second // for others who open theirs in the same directory
	lockPause   = 10 * time.Millisecond
)

// Socket is a listening control socket. It takes connections of the process's own user and of root, and of nobody
// else, where the kernel tells who connects; its mode says the same.
type Socket struct {
	listener *net.UnixListener
	may      func(*net.UnixConn) error
	closing  sync.Once
	closed   error
}

var _ net.Listener = (*Socket)(nil)

// Listen opens the control socket at path, whose directory it makes if it is missing: mode 0700 for the directory,
// 0600 for the socket. A directory that others could write to, that is not the user's own or that is a symbolic
// link is an error. A socket that is served is [ErrRunning]; those that dead programs left in the directory are removed.
//
// A file called lock stays in the directory for good: of programs that start at the same time, one after the other
// looks for what is dead and opens its own.
func Listen(ctx context.Context, path string) (*Socket, error) {
	s, err := listen(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return s, nil
}

func listen(ctx context.Context, path string) (*Socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of the control socket has %d octets, and %d fit; set RUNTIME_DIRECTORY to a shorter one: %s", len(path), maxPath, path)
	}
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("the directory of the control socket: %w", err)
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	lock, err := awaitLock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer lock.Close() // which gives it back
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	others, err := sockets(dir)
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		_ = removeStale(ctx, other) // what cannot be removed, or lives, is in nobody's way
	}
	l, err := wire.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	// Until the mode is set, the directory and checkPeer keep others out.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &Socket{listener: l, may: checkPeer}, nil
}

// awaitLock takes a lock, after those who have it.
func awaitLock(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	for {
		lock, err := takeLock(path)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w: %w", path, err, ctx.Err())
		}
	}
}

// errLocked says that another program has the lock.
var errLocked = errors.New("another program holds the lock")

// removeStale removes a socket that nobody serves. It is called with the lock held.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way and is no socket; move it away", path)
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	conn, err := wire.DialUnix(ctx, path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%w (%s answers)", ErrRunning, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is in the way, and whether it is served cannot be told: %w", path, err)
	}
	return os.Remove(path)
}

// Accept gives the next connection of someone who may give commands. Others are closed.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if s.may(conn) == nil {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// Close removes the socket. It may be called more than once.
func (s *Socket) Close() error {
	s.closing.Do(func() { s.closed = s.listener.Close() })
	return s.closed
}

// Addr gives the socket's path.
func (s *Socket) Addr() net.Addr { return s.listener.Addr() }
