package interop

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"watertight/lab"
)

// gitServer is a host that lets anyone in by SSH who wants to fetch from its one repository.
func gitServer(commit *string) func(t testing.TB, s *lab.Scene) *site {
	return func(t testing.TB, s *lab.Scene) *site {
		t.Helper()
		w := &site{host: lab.Must(s.AddHost("forge"))(t), ports: []uint16{portSSH}, root: t.TempDir()}
		*commit = repository(t, s, w)
		servesSSH(t, w)
		must(t, s.Authority.Publish(s.Canary, w.host))
		return w
	}
}

// servesSSH lets anyone into the site who wants to fetch.
func servesSSH(t testing.TB, w *site) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(lab.Must(ssh.NewSignerFromKey(key))(t))
	l := lab.Must(w.host.Listen(portSSH))(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go fetches(t, w, conn, config)
		}
	}()
}

// fetches serves one connection: sessions whose one command is git-upload-pack (RFC 4254, section 6.5).
func fetches(t testing.TB, w *site, conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for r := range requests {
				asks := r.Type == "exec" && strings.Contains(string(r.Payload), "git-upload-pack")
				_ = r.Reply(asks, nil)
				if !asks {
					continue
				}
				code := uploadPack(t, w, channel)
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
				return
			}
		}()
	}
}

// uploadPack lets git read what the client wants, and write what it has. Version 1 of its protocol needs one turn for
// each side: what the client says first waits for what it is told.
func uploadPack(t testing.TB, w *site, channel io.ReadWriter) uint32 {
	in, out, err := os.Pipe()
	if err != nil {
		return 1
	}
	defer in.Close()
	go func() {
		_, _ = io.Copy(out, channel)
		out.Close()
	}()
	p := w.host.Program("git", "upload-pack", filepath.Join(w.root, "repo.git"))
	p.Env = append(p.Env, gitEnv()...)
	p.Input = in
	p.Output = func(b []byte) { _, _ = channel.Write(b) }
	r := p.Run(t.Context())
	return uint32(r.Code)
}

func TestGit_ClonesOverSSH(t *testing.T) {
	t.Parallel()
	lab.Need(t, "git", "ssh")
	for _, way := range ways() {
		for _, c := range finders[1:2] { // which of them it is makes no difference to git
			t.Run(way.name+"/"+c.name, func(t *testing.T) {
				lab.Need(t, c.needs)
				var commit string
				sealedVisit(t, gitServer(&commit), way, c.scheme, func(t testing.TB, s *lab.Scene, _ *site, proxy string) {
					command := "ssh -F none -o BatchMode=yes -o ConnectTimeout=15 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
					if proxy != "" {
						command += " -o 'ProxyCommand=" + fmt.Sprintf(c.command, strings.TrimPrefix(proxy, c.scheme+"://")) + "'"
					}
					clone := filepath.Join(t.TempDir(), "clone")
					p := s.Client.Program("git", "clone", "--quiet", "ssh://ada@"+s.Canary+"/repo.git", clone)
					p.Env = append(append(p.Env, gitEnv()...), "GIT_SSH_COMMAND="+command)
					calls(t, p)
					got, _ := os.ReadFile(filepath.Join(clone, ".git", "refs", "heads", "main"))
					if strings.TrimSpace(string(got)) != commit {
						t.Errorf("cloned %q, want %s", got, commit)
					}
				}, true)
			})
		}
	}
}
