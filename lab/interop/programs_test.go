package interop

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/lab"
)

const portSSH = 22

// gitEnv is for a git that reads no configuration of the machine, asks nothing of its user, and makes up no e-mail
// address for its log: for one it would ask DNS for the machine's own name.
func gitEnv() []string {
	return []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=ada@example.net"}
}

// repository puts a repository on the site, for git's "dumb" protocol, which needs nothing but files.
func repository(t testing.TB, s *lab.Scene, w *site) (commit string) {
	t.Helper()
	work := t.TempDir()
	git := func(args ...string) string {
		p := s.Origin.Program("git", append([]string{"-C", work, "-c", "user.name=ada", "-c", "user.email=ada@example.net"}, args...)...)
		p.Env = append(p.Env, gitEnv()...)
		return strings.TrimSpace(calls(t, p).Stdout)
	}
	git("init", "--quiet", "--initial-branch=main")
	must(t, os.WriteFile(filepath.Join(work, "README"), []byte("the content\n"), 0o600))
	git("add", "README")
	git("commit", "--quiet", "--message=first")
	bare := filepath.Join(w.root, "repo.git")
	git("clone", "--quiet", "--bare", work, bare)
	git("--git-dir="+bare, "update-server-info")
	return git("rev-parse", "HEAD")
}

func TestGit_ClonesOverHTTPS(t *testing.T) {
	t.Parallel()
	lab.Need(t, "git")
	for _, way := range ways() {
		for _, scheme := range lab.Git.Schemes {
			t.Run(way.name+"/"+scheme, func(t *testing.T) {
				sealedVisit(t, website, way, scheme, func(t testing.TB, s *lab.Scene, w *site, proxy string) {
					commit := repository(t, s, w)
					clone := filepath.Join(t.TempDir(), "clone")
					p := s.Client.Program("git", "-c", "http.sslCAInfo="+s.CAFile, "-c", "http.proxy="+proxy,
						"clone", "--quiet", "https://"+s.Canary+"/repo.git", clone)
					p.Env = append(p.Env, gitEnv()...)
					calls(t, p)
					got := lab.Must(os.ReadFile(filepath.Join(clone, ".git", "refs", "heads", "main")))(t)
					if strings.TrimSpace(string(got)) != commit {
						t.Errorf("cloned %s, want %s", got, commit)
					}
				}, true)
			})
		}
	}
}

// bannerServer is a host with a server that greets as SSH servers do. Greeted in turn it sends what is no packet of
// SSH, and waits for the client to go.
func bannerServer(t testing.TB, s *lab.Scene) *site {
	t.Helper()
	w := &site{host: lab.Must(s.AddHost("login"))(t), ports: []uint16{portSSH}}
	l := lab.Must(w.host.Listen(portSSH))(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go banner(conn)
		}
	}()
	must(t, s.Authority.Publish(s.Canary, w.host))
	return w
}

func banner(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "SSH-2.0-lab\r\n"); err != nil {
		return
	}
	from := bufio.NewReader(conn)
	if _, err := from.ReadSlice('\n'); err != nil {
		return
	}
	if _, err := conn.Write(make([]byte, 256)); err == nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// finders are programs that ssh runs to find its way by a proxy.
var finders = []struct{ name, needs, scheme, command string }{
	{"nc -X 5", "nc", "socks5h", "nc -X 5 -x %s %%h %%p"},
	{"nc -X connect", "nc", "http", "nc -X connect -x %s %%h %%p"},
	{"ncat", "ncat", "http", "ncat --proxy-type http --proxy %s %%h %%p"},
	{"ncat, SOCKS5", "ncat", "socks5h", "ncat --proxy-type socks5 --proxy-dns remote --proxy %s %%h %%p"},
	{"connect-proxy", "connect-proxy", "http", "connect-proxy -H %s %%h %%p"},
	{"connect-proxy, SOCKS5", "connect-proxy", "socks5h", "connect-proxy -R remote -5 -S %s %%h %%p"},
}

// A server that speaks first, and a client that knows no proxy but runs another program to find its way.
func TestSSH_MeetsItsServerThroughAProxyCommand(t *testing.T) {
	lab.Need(t, "ssh")
	for i, way := range ways() {
		for _, c := range finders {
			if i > 0 && c.needs != "nc" {
				continue // the way is no affair of theirs
			}
			t.Run(way.name+"/"+c.name, func(t *testing.T) {
				lab.Need(t, c.needs)
				sealedVisit(t, bannerServer, way, c.scheme, func(t testing.TB, s *lab.Scene, _ *site, proxy string) {
					args := []string{"-v", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"}
					if proxy != "" {
						args = append(args, "-o", "ProxyCommand="+fmt.Sprintf(c.command, strings.TrimPrefix(proxy, c.scheme+"://")))
					}
					// It leaves by itself, with the code of an error: what follows the greeting is no SSH.
					r := lab.Run(t, s.Client.Program("ssh", append(args, "ada@"+s.Canary)...))
					if r.Err != nil || r.Code != 255 || !strings.Contains(r.Text(), "remote software version lab") {
						t.Errorf("no greeting arrived (%v, exit code %d):\n%s", r.Err, r.Code, r.Text())
					}
				}, true)
			})
		}
	}
}
