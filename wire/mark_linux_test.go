package wire

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const testMark = 119

// mayMark skips a test where no socket can be marked.
func mayMark(t *testing.T) {
	t.Helper()
	if err := MayMark(testMark); errors.Is(err, syscall.EPERM) {
		t.Skip("a mark takes CAP_NET_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
}

func markOf(t *testing.T, socket syscall.Conn) int {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	mark := -1
	if cerr := raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return mark
}

// toNetwork are the functions that give sockets of IP. Of each is said what makes one with a mark, or why what it sends needs none.
var toNetwork = map[string]struct {
	marked func(t *testing.T) syscall.Conn
	none   string
}{
	"Dialer.DialAddr": {marked: func(t *testing.T) syscall.Conn {
		l := listener(t)
		return given(Dialer{}.Marked(testMark).DialAddr(t.Context(), l.Addr().(*net.TCPAddr).AddrPort()))(t).(*net.TCPConn)
	}},
	"Dialer.DialPacketAddr": {marked: func(t *testing.T) syscall.Conn {
		return given(Dialer{}.Marked(testMark).DialPacketAddr(t.Context(), netip.MustParseAddrPort("127.0.0.1:9")))(t).(*net.UDPConn)
	}},
	"Dialer.DialPacketAddr with WithRoaming": {marked: func(t *testing.T) syscall.Conn {
		return given(Dialer{}.Marked(testMark).DialPacketAddr(WithRoaming(t.Context()), netip.MustParseAddrPort("127.0.0.1:9")))(t).(*Roaming).conn
	}},
	"Dialer.DialAddr with WithSegments": {marked: func(t *testing.T) syscall.Conn {
		l := listener(t)
		return given(Dialer{}.Marked(testMark).DialAddr(WithSegments(t.Context(), 1000), l.Addr().(*net.TCPAddr).AddrPort()))(t).(*net.TCPConn)
	}},
	"ListenMarkedTCP": {marked: func(t *testing.T) syscall.Conn {
		return given(ListenMarkedTCP(netip.MustParseAddrPort("127.0.0.1:0"), testMark))(t)
	}},
	"ListenMarkedTCP and Accept": {marked: func(t *testing.T) syscall.Conn {
		l := given(ListenMarkedTCP(netip.MustParseAddrPort("127.0.0.1:0"), testMark))(t)
		given(DialListener(t.Context(), l))(t)
		return given(l.AcceptTCP())(t)
	}},
	"ListenMarkedUDP": {marked: func(t *testing.T) syscall.Conn {
		return given(ListenMarkedUDP(netip.MustParseAddrPort("[::1]:0"), testMark))(t)
	}},
	"ListenTransparentTCP": {marked: func(t *testing.T) syscall.Conn {
		return given(ListenTransparentTCP(netip.MustParseAddrPort("127.0.0.1:0"), testMark))(t)
	}},
	"ListenTransparentUDP": {marked: func(t *testing.T) syscall.Conn {
		return given(ListenTransparentUDP(netip.MustParseAddrPort("127.0.0.1:0"), testMark))(t)
	}},
	"ReplyFrom": {marked: func(t *testing.T) syscall.Conn {
		return given(ReplyFrom(netip.MustParseAddrPort("192.0.2.1:443"), testMark))(t)
	}},
	"Activated and Mark": {marked: func(t *testing.T) syscall.Conn {
		l := listener(t)
		if err := Mark(l, testMark); err != nil {
			t.Fatal(err)
		}
		given(DialListener(t.Context(), l))(t)
		return given(l.AcceptTCP())(t)
	}},

	"DialTCP":               {none: "without a mark by its name; nobody calls it but tests"},
	"DialUDP":               {none: "without a mark by its name; nobody calls it but tests"},
	"ListenTCP":             {none: "without a mark by its name, for who answers this host alone, or stands for itself"},
	"ListenUDP":             {none: "without a mark by its name, for who stands for itself"},
	"DialAsOthers":          {none: "as programs that know of no proxy send, by its name: the leak test's"},
	"DialListener":          {none: "to a socket of this program"},
	"DialPacketListener":    {none: "to a socket of this program"},
	"ListenForRelay":        {none: "to a socket of this program"},
	"DialContained":         {none: "in the network of a contained program, which has no way out"},
	"DialContainedBy":       {none: "in the network of a contained program, which has no way out"},
	"ListenTransparentICMP": {none: "in the network of a contained program, which has no way out"},
	"ListenerOf":            {none: "made by others in the network of a contained program"},
	"UDPOf":                 {none: "made by others in the network of a contained program"},
	"TCPOf":                 {none: "made by others in the network of a contained program"},
	"IPOf":                  {none: "made by others in the network of a contained program"},
	"NewHeaded":             {none: "of a connection that there is"},
	"WithHead":              {none: "of a connection that there is"},
	"PacketConn":            {none: "of a connection that there is"},
	"DialUnix":              {none: "of this host"},
	"OpenCapture":           {none: "reads"},
	"OpenCaptureEverywhere": {none: "reads, and cannot send"},
}

func listener(t *testing.T) *net.TCPListener {
	t.Helper()
	return given(ListenTCP(netip.MustParseAddrPort("127.0.0.1:0")))(t)
}

func given[C interface{ Close() error }](c C, err error) func(*testing.T) C {
	return func(t *testing.T) C {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

func TestWhatIsSentToTheNetworkCanBeMarked(t *testing.T) {
	mayMark(t)
	for name, f := range toNetwork {
		if f.marked == nil {
			continue
		}
		if got := markOf(t, f.marked(t)); got != testMark {
			t.Errorf("%s: the mark is %d", name, got)
		}
	}
	if got := markOf(t, listener(t)); got != 0 {
		t.Errorf("without a mark it is %d", got)
	}
}

// socketType is what a function gives that gives a socket, or something over one.
var socketType = regexp.MustCompile(`^\*?(net\.(Conn|PacketConn|TCPConn|UDPConn|IPConn|TCPListener|Listener)|Roaming|Headed|RelayClient|CaptureSocket)$|^map\[string\]\[\]\*net\.TCPListener$`)

func TestEveryFunctionThatGivesASocketIsKnown(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for name := range toNetwork {
		first, _, _ := strings.Cut(name, " ")
		known[first] = false
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Type.Results == nil {
				continue
			}
			called := f.Name.Name
			if f.Recv != nil {
				called = strings.TrimPrefix(string(text[f.Recv.List[0].Type.Pos()-file.FileStart:f.Recv.List[0].Type.End()-file.FileStart]), "*") + "." + called
			}
			for _, r := range f.Type.Results.List {
				result := string(text[r.Type.Pos()-file.FileStart : r.Type.End()-file.FileStart])
				if !socketType.MatchString(result) {
					continue
				}
				if _, ok := known[called]; !ok {
					t.Errorf("%s: %s gives a socket (%s): put it into toNetwork, with its mark or the reason why it needs none", name, called, result)
				}
				known[called] = true
			}
		}
	}
	for name, seen := range known {
		if !seen {
			t.Errorf("there is no %s that gives a socket", name)
		}
	}
}

// withoutMark are the files that open sockets which never have a mark, and why they may.
var withoutMark = map[string]string{
	"daemon/publish_linux.go": "loopback alone",
	"cli/canary.go":           "a canary has no guard: it is to be asked by everybody",
	"cli/canaryweb.go":        "a canary has no guard: it is to be asked by everybody",
	"contain/":                "the network of a contained program, which has no way out",
	"leaktest/probe/":         "the network of a contained program, which has no way out",
	"lab/":                    "an internet of its own, for tests",
}

func TestSocketsWithoutAMarkAreOpenedWhereNothingLeavesByThem(t *testing.T) {
	opens := regexp.MustCompile(`\bwire\.(DialTCP|DialUDP|ListenTCP|ListenUDP|DialContained\w*|ListenTransparentICMP|ListenTransparent\w+\([^)]*, 0\)|ReplyFrom\([^)]*, 0\)|Dialer\{)`)
	given := regexp.MustCompile(`Ground: +wire\.Dialer\{\}|groundFor\(c, wire\.Dialer\{\}\)`) // to package daemon, which marks it
	seen := map[string]bool{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || path == "wire"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			code, _, _ := bytes.Cut(line, []byte("//"))
			if !opens.Match(code) || given.Match(code) {
				continue
			}
			why := false
			for where := range withoutMark {
				if strings.HasPrefix(path, where) {
					seen[where], why = true, true
				}
			}
			if !why {
				t.Errorf("%s opens a socket that has no mark: %s", path, bytes.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for where := range withoutMark {
		if !seen[where] {
			t.Errorf("%s opens none", where)
		}
	}
}
