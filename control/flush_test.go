package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestFlush_EmptiesOneChannelOrAll(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	var asked []string
	running(t, path, &source{flush: func(channel string) ([]Flushed, error) {
		asked = append(asked, channel)
		return []Flushed{{"direct", 12, 5000}}, nil
	}})
	for _, channel := range []string{"", "direct", "a&b=c?"} {
		got, err := Flush(t.Context(), path, channel)
		if err != nil || !slices.Equal(got, []Flushed{{"direct", 12, 5000}}) {
			t.Errorf("%q: %+v, %v", channel, got, err)
		}
	}
	if !slices.Equal(asked, []string{"", "direct", "a&b=c?"}) {
		t.Errorf("the program was asked to flush %q", asked)
	}
}

func TestFlush_OfAChannelThatIsNotThereListsThoseThatAre(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	running(t, path, &source{flush: func(channel string) ([]Flushed, error) {
		return nil, &UnknownChannelError{Name: channel, Channels: []string{"direct", "office"}}
	}})
	_, err := Flush(t.Context(), path, "offise")
	unknown, ok := errors.AsType[*UnknownChannelError](err)
	if !ok || unknown.Name != "offise" || !strings.HasSuffix(err.Error(), "has direct, office") {
		t.Errorf("%v", err)
	}
}

func TestFlush_SaysWhyItCouldNot(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	running(t, path, &source{flush: func(string) ([]Flushed, error) { return nil, errors.New("it is stopping") }})
	if _, err := Flush(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "it is stopping") {
		t.Errorf("%v", err)
	}
	if _, err := Flush(t.Context(), path+"x", ""); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

func TestFlush_IsNoCommandOfTheAdminPortAndTakesPostWithAChannelOnly(t *testing.T) {
	at := admin(t, &source{flush: func(string) ([]Flushed, error) { t.Error("it was flushed"); return nil, nil }})
	if r, _ := send(t, at, "POST /cache/flush HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); r.StatusCode != http.StatusNotFound {
		t.Errorf("the admin port says %s", r.Status)
	}
	for request, want := range map[string]int{
		"GET /cache/flush":                     http.StatusMethodNotAllowed,
		"POST /cache/flush?channel=":           http.StatusBadRequest,
		"POST /cache/flush?chanel=a":           http.StatusBadRequest,
		"POST /cache/flush?channel=a&x=y":      http.StatusBadRequest,
		"POST /cache/flush?channel=a&channel=": http.StatusBadRequest,
		"POST /cache/flush?channel=%zz":        http.StatusBadRequest,
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := inMemory(t, &source{flush: func(string) ([]Flushed, error) { t.Error("it was flushed"); return nil, nil }}).dial()
			defer conn.Close()
			if r, body := exchange(t, conn, request+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != want {
				t.Errorf("%s: %s %s", request, r.Status, body)
			}
		})
	}
}

func TestFlush_OfNothingIsAnEmptyListInJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := inMemory(t, &source{flush: func(string) ([]Flushed, error) { return nil, nil }}).dial()
		defer conn.Close()
		_, body := exchange(t, conn, "POST /cache/flush HTTP/1.1\r\nHost: localhost\r\n\r\n")
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil || got["flushed"] == nil {
			t.Errorf("%s: %v", body, err)
		}
	})
}
