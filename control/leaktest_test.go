package control

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/leaktest"
)

// tested is a source that can be tested.
type tested struct {
	source
	test func(context.Context, Test) (*leaktest.Report, error)
}

func (s *tested) Test(ctx context.Context, t Test) (*leaktest.Report, error) { return s.test(ctx, t) }

// controlOf serves the control socket of a source, and gives its path.
func controlOf(t *testing.T, from Source) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wt") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	socket, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server(t, from).ServeControl(ctx, socket) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ServeControl: %v", err)
		}
	})
	return path
}

func TestATestIsToldAsItGoesOn(t *testing.T) {
	packets := bytes.Repeat([]byte("packet"), 20_000)
	var asked Test
	path := controlOf(t, &tested{test: func(_ context.Context, ask Test) (*leaktest.Report, error) {
		asked = ask
		ask.Progress(leaktest.Progress{Begun: 1, Of: 2, Case: "TRAP"})
		if _, err := ask.PCAP.Write(packets); err != nil {
			return nil, err
		}
		return &leaktest.Report{Verdict: leaktest.Leak, Cases: []leaktest.Case{{ID: "TRAP", Verdict: leaktest.Leak}}}, nil
	}})
	var told []leaktest.Progress
	var got bytes.Buffer
	r, err := RunTest(t.Context(), path, Test{
		Only: []string{"TRAP", "PACKETS"}, Control: true, PCAP: &got,
		Progress: func(p leaktest.Progress) { told = append(told, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != leaktest.Leak || len(r.Cases) != 1 || len(told) != 1 || told[0].Case != "TRAP" {
		t.Errorf("the report is %+v, and %v was told", r, told)
	}
	if !bytes.Equal(got.Bytes(), packets) {
		t.Errorf("%d octets of packets came, of %d", got.Len(), len(packets))
	}
	if !asked.Control || !slices.Equal(asked.Only, []string{"TRAP", "PACKETS"}) {
		t.Errorf("it was asked for %+v", asked)
	}
}

func TestATestThatFailsSaysWhy(t *testing.T) {
	path := controlOf(t, &tested{test: func(context.Context, Test) (*leaktest.Report, error) { return nil, errors.New("a test is under way") }})
	if _, err := RunTest(t.Context(), path, Test{}); err == nil || err.Error() != "a test is under way" {
		t.Errorf("it says %v", err)
	}
	if _, err := RunTest(t.Context(), path, Test{Only: []string{"NOTHING"}}); err == nil || !strings.Contains(err.Error(), "no case") {
		t.Errorf("of an unknown case it says %v", err)
	}
}

// TestATestEndsWithWhoAskedForIt: nobody waits for its report any more.
func TestATestEndsWithWhoAskedForIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	path := controlOf(t, &tested{test: func(ctx context.Context, _ Test) (*leaktest.Report, error) {
		cancel()
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	if _, err := RunTest(ctx, path, Test{}); err == nil {
		t.Error("it gave a report")
	}
	<-ended
}

// TestATestIsACommand: who may only watch may not have one made, and neither may a browser.
func TestATestIsACommand(t *testing.T) {
	s := &tested{test: func(context.Context, Test) (*leaktest.Report, error) {
		t.Error("it was tested")
		return nil, errors.New("no")
	}}
	at := admin(t, s)
	response, _ := send(t, at, "POST /leaktest HTTP/1.1\r\nHost: "+at+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the admin port answers %d", response.StatusCode)
	}
}
