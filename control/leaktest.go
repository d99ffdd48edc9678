package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"watertight/leaktest"
)

// Tester is a [Source] that tests itself.
type Tester interface {
	// Test tests the program. The error is for a test that could not begin, or was broken off.
	Test(ctx context.Context, t Test) (*leaktest.Report, error)
}

// Test is what is asked of a test.
type Test struct {
	Only     []string                // the IDs of cases; empty: all of them
	Control  bool                    // ask the host's own resolver too, as the positive control
	Progress func(leaktest.Progress) // nil: nobody wants to know
	PCAP     io.Writer               // nil: nobody wants the packets
}

// Limits on a test.
const (
	testLimit   = 2*leaktest.MaxLimit + time.Minute // that of one which is under way, and then its own; the configuration may have it end before
	testLine    = 16 << 20                          // octets of one line of the answer, at most
	testPackets = 32 << 10                          // octets of packets in one line
	maxOnly     = 100
)

// testLineOf is one line of the answer of /leaktest: it holds one of these.
type testLineOf struct {
	Progress *leaktest.Progress `json:"progress,omitempty"`
	Packets  []byte             `json:"packets,omitempty"`
	Report   *leaktest.Report   `json:"report,omitempty"`
	Error    string             `json:"error,omitempty"`
}

// addTest adds the path by which the program is tested, where the source can be.
func (s *Server) addTest(p paths) {
	if t, ok := s.o.Source.(Tester); ok {
		p["/leaktest"] = handling{http.MethodPost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.test(t, w, r) })}
	}
}

// test answers with lines of JSON, as the test goes on; the last one has the report or an error. Who hangs up ends it.
func (s *Server) test(t Tester, w http.ResponseWriter, r *http.Request) {
	asked, err := url.ParseQuery(r.URL.RawQuery)
	only := asked["only"]
	ask := Test{Only: only, Control: asked.Has("control")}
	packets := asked.Has("packets")
	for _, known := range []string{"only", "control", "packets"} {
		delete(asked, known)
	}
	if err != nil || len(asked) > 0 || len(only) > maxOnly {
		refuse(w, http.StatusBadRequest, "this path takes ?only=ID, which may be repeated, &control and &packets, and no more")
		return
	}
	if err := leaktest.Known(only); err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(testLimit)); err != nil { // it is noticed when the client hangs up
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), testLimit)
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &testLines{w: w, control: control, give: cancel}
	ask.Progress = func(p leaktest.Progress) { out.write(testLineOf{Progress: &p}) }
	if packets {
		ask.PCAP = out
	}
	report, err := t.Test(ctx, ask)
	if err != nil {
		out.write(testLineOf{Error: err.Error()})
		return
	}
	out.write(testLineOf{Report: report})
}

// testLines writes lines to a client, from many goroutines. Where it takes none any more, the test is given up.
type testLines struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	give    context.CancelFunc
}

func (l *testLines) write(line testLineOf) {
	b, err := json.Marshal(line)
	if err != nil {
		l.give()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.control.SetWriteDeadline(time.Now().Add(writeLimit))
	if err == nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	if err == nil {
		err = l.control.Flush()
	}
	if err != nil {
		l.give()
	}
}

// Write sends packets.
func (l *testLines) Write(b []byte) (int, error) {
	for chunk := range slices.Chunk(b, testPackets) {
		l.write(testLineOf{Packets: chunk})
	}
	return len(b), nil
}

// RunTest lets the program that serves socketPath test itself, and gives the report. An unknown ID is a
// *[leaktest.UnknownCaseError].
func RunTest(ctx context.Context, socketPath string, t Test) (*leaktest.Report, error) {
	if err := leaktest.Known(t.Only); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testLimit+statusLimit)
	defer cancel()
	query := url.Values{"only": t.Only}
	if t.Control {
		query.Set("control", "")
	}
	if t.PCAP != nil {
		query.Set("packets", "")
	}
	client := http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socketPath) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects") },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/leaktest?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return nil, plain(err)
		}
		return nil, fmt.Errorf("control: %s: %w", socketPath, plain(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxHeader)) // what there is of it is shown
		return nil, fmt.Errorf("control: %s answers %s: %s", socketPath, response.Status, firstLine(body))
	}
	return readTest(response.Body, t)
}

// readTest reads the lines of a test up to its report.
func readTest(r io.Reader, t Test) (*leaktest.Report, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, testLine)
	for lines.Scan() {
		var line testLineOf
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("control: the answer is not understood: %w", err)
		}
		switch {
		case line.Report != nil:
			return line.Report, nil
		case line.Error != "":
			return nil, errors.New(clean(line.Error))
		case line.Progress != nil && t.Progress != nil:
			t.Progress(*line.Progress)
		case len(line.Packets) > 0 && t.PCAP != nil:
			if _, err := t.PCAP.Write(line.Packets); err != nil {
				return nil, fmt.Errorf("the packets cannot be written: %w", err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("control: the answer broke off: %w", err)
	}
	return nil, errors.New("control: the answer broke off before the report: the proxy has stopped")
}
