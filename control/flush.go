package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Flushed is what one channel's cache held when it was emptied. Field names are stable.
type Flushed struct {
	Channel string `json:"channel"`
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"` // of memory
}

// UnknownChannelError says that there is no channel of a name, and which there are.
type UnknownChannelError struct {
	Name     string
	Channels []string
}

func (e *UnknownChannelError) Error() string {
	return fmt.Sprintf("there is no channel %q; the running proxy has %s", e.Name, strings.Join(e.Channels, ", "))
}

// flushed is the answer of /cache/flush.
type flushed struct {
	Flushed  []Flushed `json:"flushed"`
	Channels []string  `json:"channels,omitempty"` // there is none of the name that was asked for; these are there
}

// flush empties the cache of the channel that the query names, or every channel's.
func (s *Server) flush(w http.ResponseWriter, r *http.Request) {
	asked, err := url.ParseQuery(r.URL.RawQuery)
	channel := asked["channel"]
	delete(asked, "channel")
	if err != nil || len(asked) > 0 || len(channel) > 1 || len(channel) == 1 && channel[0] == "" {
		refuse(w, http.StatusBadRequest, "this path takes ?channel=NAME, and no more")
		return
	}
	done, err := s.o.Source.Flush(strings.Join(channel, ""))
	if unknown, ok := errors.AsType[*UnknownChannelError](err); ok {
		s.json(w, http.StatusUnprocessableEntity, flushed{Flushed: []Flushed{}, Channels: unknown.Channels})
		return
	}
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	s.json(w, http.StatusOK, flushed{Flushed: append([]Flushed{}, done...)})
}

// Flush lets the program that serves socketPath empty the cache of a channel, or of every channel where the name is
// empty. Where there is no such channel the error is an *[UnknownChannelError].
func Flush(ctx context.Context, socketPath, channel string) ([]Flushed, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	path := "/cache/flush"
	if channel != "" {
		path += "?channel=" + url.QueryEscape(channel)
	}
	var f flushed
	if err := ask(ctx, socketPath, http.MethodPost, path, &f, http.StatusOK, http.StatusUnprocessableEntity); err != nil {
		return nil, err
	}
	if len(f.Channels) > 0 {
		return nil, &UnknownChannelError{Name: channel, Channels: f.Channels}
	}
	return append([]Flushed{}, f.Flushed...), nil
}
