package wire

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxStatus is the length in octets that a status for the service manager is cut to.
const maxStatus = 256

// Manager is the service manager that started this process and wants to be told how it does (sd_notify(3)). The zero
// Manager stands for none: telling it does nothing.
type Manager struct {
	path     string
	watchdog time.Duration
}

// ServiceManager reads who wants to be told from the environment, and clears the variables, so that no child speaks
// in this process's name. A socket address that this program cannot reach is an error.
func ServiceManager() (Manager, error) {
	path, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, v := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(v); err != nil {
			return Manager{}, fmt.Errorf("wire: service manager: %w", err)
		}
	}
	if path == "" {
		return Manager{}, nil
	}
	if path[0] != '/' && path[0] != '@' { // '@' is the abstract namespace (unix(7))
		return Manager{}, fmt.Errorf("wire: service manager: NOTIFY_SOCKET is %q, want a path or an abstract address", path)
	}
	m := Manager{path: path}
	if usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if most := int64(1<<63-1) / int64(time.Microsecond); err != nil || n <= 0 || n > most {
		return Manager{}, fmt.Errorf("wire: service manager: WATCHDOG_USEC is %q, want microseconds", usec)
	}
	m.watchdog = time.Duration(n) * time.Microsecond
	return m, nil
}

// Present says whether anyone wants to be told.
func (m Manager) Present() bool { return m.path != "" }

// Ready tells that start-up, or a reload, is complete.
func (m Manager) Ready(status string) error { return m.tell("READY=1", statusLine(status)) }

// Reloading tells that the configuration is read again. [Manager.Ready] must follow, whatever comes of it.
func (m Manager) Reloading() error {
	return m.tell("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonicMicroseconds(), 10))
}

// Stopping tells that the shutdown has begun.
func (m Manager) Stopping() error { return m.tell("STOPPING=1") }

// Status tells in a line what the process is doing, for `systemctl status`.
func (m Manager) Status(status string) error { return m.tell(statusLine(status)) }

// Watchdog tells that the process is alive, twice in each interval that the service manager asked for, as long as
// alive says so. It gives nil when ctx is done; where no watchdog is wanted it only waits for that.
func (m Manager) Watchdog(ctx context.Context, alive func() bool) error {
	if m.watchdog == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(max(m.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		if alive() {
			// A beat that is lost is not made up for: the next one comes in time, or the manager acts.
			_ = m.tell("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m Manager) tell(lines ...string) error {
	if m.path == "" {
		return nil
	}
	if err := SendUnixgram(m.path, []byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("wire: service manager: %w", err)
	}
	return nil
}

// statusLine makes one line of the text, so that it cannot hold another assignment.
func statusLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxStatus {
		s = s[:maxStatus]
	}
	return "STATUS=" + strings.ToValidUTF8(s, "")
}
