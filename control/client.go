package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"watertight/wire"
)

// maxAnswer is the longest answer that the client reads, in octets.
const maxAnswer = 16 << 20

// statusLimit is how long a status may take.
const statusLimit = 10 * time.Second

// ReloadError says why the program kept its configuration.
type ReloadError struct {
	Lines []string
	// Invalid says that the new configuration is at fault, and not the host.
	Invalid bool
}

func (e *ReloadError) Error() string { return strings.Join(e.Lines, "\n") }

// dial connects to a control socket, and says in plain words why it could not.
func dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := wire.DialUnix(ctx, path)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: nothing answers at %s; start it with `watertight run`", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("it belongs to another user: run this as that user, or with sudo")
	}
	return nil, err
}

// FetchStatus asks the program that serves socketPath for its status.
func FetchStatus(ctx context.Context, socketPath string) (Status, error) {
	return fetch(ctx, socketPath, "/status")
}

// FetchPools is FetchStatus with every member of the pools.
func FetchPools(ctx context.Context, socketPath string) (Status, error) {
	return fetch(ctx, socketPath, "/status?"+withMembers)
}

func fetch(ctx context.Context, socketPath, path string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	var s Status
	if err := ask(ctx, socketPath, http.MethodGet, path, &s, http.StatusOK); err != nil {
		return Status{}, err
	}
	return s, nil
}

// Reload lets the program that serves socketPath read its configuration again. If it would not have it, the error is
// a *[ReloadError], and nothing has changed.
func Reload(ctx context.Context, socketPath string) error {
	ctx, cancel := context.WithTimeout(ctx, reloadLimit+statusLimit)
	defer cancel()
	var r reloaded
	if err := ask(ctx, socketPath, http.MethodPost, "/reload", &r, http.StatusOK, http.StatusUnprocessableEntity, http.StatusServiceUnavailable); err != nil {
		return err
	}
	if !r.OK {
		return &ReloadError{r.Errors, r.Invalid}
	}
	return nil
}

// ask sends one request over a connection of its own, and reads its answer into v.
func ask(ctx context.Context, socketPath, method, path string, v any, want ...int) error {
	client := http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socketPath) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects") },
	}
	// The host is never looked up: there is one place to dial.
	request, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return plain(err)
		}
		return fmt.Errorf("control: %s: %w", socketPath, plain(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("control: %s: the answer broke off: %w", socketPath, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("control: %s: the answer has more than %d octets", socketPath, maxAnswer)
	case !slices.Contains(want, response.StatusCode):
		return fmt.Errorf("control: %s answers %s: %s", socketPath, response.Status, firstLine(body))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("control: %s: the answer is not understood: %w", socketPath, err)
	}
	return nil
}

// plain takes off what net/http puts before an error: a method and a URL that mean nothing to a user.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return clean(line)
}
