package interop

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/internet"
)

const (
	portHTTPS    = 443
	portPostgres = 5432
)

// wild is a scene with a site that has something for every program: pages, a repository of git and one of apt, gRPC, SSH, and
// a database. The name that each program calls leads there.
type wild struct {
	*lab.Scene
	site   *site
	pages  *http.ServeMux
	commit string // of the repository of git
}

func newWild(t testing.TB, families internet.Families) *wild {
	t.Helper()
	s := lab.NewScene(t, families)
	w := &wild{Scene: s, pages: http.NewServeMux()}
	w.site = &site{host: lab.Must(s.AddHost("wild"))(t), ports: []uint16{portHTTPS, portSSH, portPostgres}, root: t.TempDir()}
	lab.Need(t, "git")
	w.commit = repository(t, s, w.site)
	packages(t, w.site.root)
	servesSSH(t, w.site)
	cert := s.CA.Issue([]string{"*." + lab.Zone}, nil)
	w.servePages(t, cert)
	w.servePostgres(t, cert)
	for _, p := range append(programs(), browsers()...) {
		must(t, s.Authority.Publish(p.host(s), w.site.host))
		must(t, s.Authority.Add(fmt.Sprintf("%s. 60 TXT \"%s%s\"", p.host(s), internet.Greeting, p.host(s))))
	}
	s.Permitted, s.Readers = append(s.Resolver.Peers(), w.site.peers()...), w.site.peers()
	return w
}

func (w *wild) servePages(t testing.TB, cert tls.Certificate) {
	t.Helper()
	w.pages.Handle("/", http.FileServer(http.Dir(w.site.root)))
	w.pages.HandleFunc("/{$}", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintln(rw, internet.Greeting+r.Host) })
	w.pages.HandleFunc("/lab.Echo/Say", func(rw http.ResponseWriter, r *http.Request) { // gRPC: one message, which comes back
		rw.Header().Set("Content-Type", "application/grpc")
		rw.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.Copy(rw, io.LimitReader(r.Body, 1<<10))
		rw.Header().Set("Grpc-Status", "0")
	})
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
		ErrorLog:  log.New(io.Discard, "", 0), Handler: w.pages,
	}
	l := lab.Must(w.site.host.Listen(portHTTPS))(t)
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
}

// packages puts a repository of apt, with one package in it, below a directory.
func packages(t testing.TB, root string) {
	t.Helper()
	list := "Package: hello\nVersion: 1.0\nArchitecture: all\nMaintainer: Ada <ada@example.net>\nFilename: ./hello.deb\n" +
		"Size: 1\nSHA256: " + strings.Repeat("0", 64) + "\nDescription: greets\n\n"
	release := fmt.Sprintf("Date: %s\nSHA256:\n %x %d Packages\n", time.Now().UTC().Format(http.TimeFormat), sha256.Sum256([]byte(list)), len(list))
	must(t, os.Mkdir(filepath.Join(root, "debian"), 0o755))
	for name, text := range map[string]string{"Packages": list, "Release": strings.ReplaceAll(release, "GMT", "UTC")} {
		must(t, os.WriteFile(filepath.Join(root, "debian", name), []byte(text), 0o644))
	}
}

// servePostgres serves a database over TLS whose one answer is its client's server name (PostgreSQL 15, "Message Formats").
func (w *wild) servePostgres(t testing.TB, cert tls.Certificate) {
	t.Helper()
	l := lab.Must(w.site.host.Listen(portPostgres))(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				_ = database(conn, config) // the client says what went wrong
			}()
		}
	}()
}

func database(raw net.Conn, config *tls.Config) error {
	request := make([]byte, 8) // SSLRequest
	if _, err := io.ReadFull(raw, request); err != nil {
		return err
	}
	if _, err := raw.Write([]byte("S")); err != nil {
		return err
	}
	conn := tls.Server(raw, config)
	from := bufio.NewReader(conn)
	if _, err := message(from); err != nil { // StartupMessage, which has no type
		return err
	}
	ready := frame('Z', "I")
	if _, err := io.WriteString(conn, frame('R', "\x00\x00\x00\x00")+ready); err != nil {
		return err
	}
	for {
		kind, err := from.ReadByte()
		if err != nil {
			return err
		}
		if _, err := message(from); err != nil {
			return err
		}
		if kind != 'Q' {
			continue
		}
		value := internet.Greeting + conn.ConnectionState().ServerName
		column := "\x00\x01name\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00"
		row := "\x00\x01" + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
		if _, err := io.WriteString(conn, frame('T', column)+frame('D', row)+frame('C', "SELECT 1\x00")+ready); err != nil {
			return err
		}
	}
}

func frame(kind byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(text)))) + text
}

func message(from io.Reader) ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(from, length); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length)
	if n < 4 || n > 1<<12 {
		return nil, fmt.Errorf("a message of %d octets", n)
	}
	text := make([]byte, n-4)
	_, err := io.ReadFull(from, text)
	return text, err
}
