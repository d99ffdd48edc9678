package cli_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// required says that a missing client is a failure, and not a reason to skip.
func required() bool { return os.Getenv("WATERTIGHT_LAB") == "required" }

// lacking skips the test, or fails it where everything is required.
func lacking(t testing.TB, what string) {
	t.Helper()
	if required() {
		t.Fatal("WATERTIGHT_LAB=required: " + what)
	}
	t.Skip("NOT TESTED: " + what)
}

// runClient runs a client with the proxy variables that `watertight env` prints, and gives all that it wrote.
func (x *proxy) runClient(t *testing.T, client string, args ...string) (said string, err error) {
	t.Helper()
	path := filepath.Join("/usr/bin", client) // a distribution's client before any other
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(client); err != nil {
			lacking(t, client+" is not installed")
		}
	}
	u := "http://" + x.address
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = x.dir
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + x.dir, "LC_ALL=C", "http_proxy=" + u, "https_proxy=" + u, "all_proxy=" + u,
		"HTTP_PROXY=" + u, "HTTPS_PROXY=" + u, "ALL_PROXY=" + u, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_SSL_CAINFO=" + x.ca0(), "no_proxy=localhost,127.0.0.1,::1", "NO_PROXY=localhost,127.0.0.1,::1",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *world) ca0() string { return filepath.Join(w.dir, "ca.pem") }

// mustSay fails the test unless a client said all of wants.
func mustSay(t *testing.T, said string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("the client did not say %q, but:\n%s", want, said)
		}
	}
}

func TestCurlCallsTheAPIByEveryProxyScheme(t *testing.T) {
	x := startProxy(t, testWorld(t))
	for _, scheme := range []string{"http", "socks4a", "socks5h", "socks5"} {
		for _, u := range []string{"https://" + x.secure, "http://" + x.plain} {
			args := []string{"-sS", "--max-time", "30", "--cacert", x.ca0(), "--proxy", scheme + "://" + x.address, u + "/hello"}
			if scheme == "socks5" { // it resolves by itself: it is given the address
				_, port, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "http://"), ":")
				args = append([]string{"--resolve", apiName + ":" + port + ":127.0.0.1"}, args...)
			}
			said, err := x.runClient(t, "curl", args...)
			if err != nil {
				t.Errorf("%s, %s: %v", scheme, u, err)
			}
			mustSay(t, said, "hello from "+apiName)
		}
	}
	if n := x.dot.Count(apiName, 1); n != 1 {
		t.Errorf("the resolver was asked %d times for the name, not once for all", n)
	}
}

func TestCurlShowsTheReasonOfARefusal(t *testing.T) {
	x := startProxy(t, testWorld(t))
	said, err := x.runClient(t, "curl", "-sSv", "--max-time", "30", "https://"+noName+"/")
	if err == nil {
		t.Error("a name that does not exist was reached")
	}
	mustSay(t, said, "HTTP/1.1 502 "+noName+" does not exist (DNS_NXDOMAIN)",
		`Proxy-Status: watertight; error=dns_error; rcode="NXDOMAIN"; details="`+noName+` does not exist"`, "502")
	said, err = x.runClient(t, "curl", "-sS", "--max-time", "30", "http://"+noName+"/")
	if err != nil {
		t.Error(err)
	}
	mustSay(t, said, `"error":"DNS_NXDOMAIN"`, `"target":"`+noName+`:80"`, `"channel":"direct"`, `"hint":"`)
	// 4: host unreachable (RFC 1928, section 6); 5: connection refused.
	said, _ = x.runClient(t, "curl", "-sS", "--max-time", "30", "--proxy", "socks5h://"+x.address, "https://"+noName+"/")
	mustSay(t, said, "(4)")
	said, _ = x.runClient(t, "curl", "-sS", "--max-time", "30", "--proxy", "socks5h://"+x.address, "https://"+deadName+":"+x.dead+"/")
	mustSay(t, said, "(5)")
	said, _ = x.runClient(t, "curl", "-sS", "--max-time", "30", "--proxy", "socks4a://"+x.address, "https://"+noName+"/")
	mustSay(t, said, "(91)")
}

func TestWgetCallsTheAPIAndPrintsTheReasonOfARefusal(t *testing.T) {
	x := startProxy(t, testWorld(t))
	common := []string{"--tries=1", "--timeout=30", "--no-hsts", "--no-config", "-O", "-"}
	said, err := x.runClient(t, "wget", append(common, "--ca-certificate="+x.ca0(), "https://"+x.secure+"/hello")...)
	if err != nil {
		t.Error(err)
	}
	mustSay(t, said, "hello from "+apiName)
	said, err = x.runClient(t, "wget", append(common, "https://"+noName+"/")...)
	if err == nil {
		t.Error("a name that does not exist was reached")
	}
	mustSay(t, said, "(DNS_NXDOMAIN)")
	said, _ = x.runClient(t, "wget", append(common, "http://"+noName+"/")...)
	mustSay(t, said, "ERROR 502: "+noName+" does not exist (DNS_NXDOMAIN)")
}

const urllibCall = `
import ssl, sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=30, context=ssl.create_default_context(cafile=sys.argv[2])).read().decode())
except Exception as e:
    print("FAILED:", e, getattr(e, "reason", ""))
`

const requestsCall = `
import sys, requests
try:
    r = requests.get(sys.argv[1], timeout=30, verify=sys.argv[2])
    print(r.status_code, r.reason, r.text)
except Exception as e:
    print("FAILED:", e)
`

func TestPythonCallsTheAPIAndPrintsTheReasonOfARefusal(t *testing.T) {
	for _, client := range []struct{ name, script string }{{"urllib", urllibCall}, {"requests", requestsCall}} {
		t.Run(client.name, func(t *testing.T) {
			x := startProxy(t, testWorld(t))
			if said, err := x.runClient(t, "python3", "-c", "import ssl, "+client.name); err != nil {
				lacking(t, "python3 has no "+client.name+": "+said)
			}
			call := func(u string) string {
				said, err := x.runClient(t, "python3", "-c", client.script, u, x.ca0())
				if err != nil {
					t.Error(err)
				}
				return said
			}
			mustSay(t, call("https://"+x.secure+"/hello"), "hello from "+apiName)
			mustSay(t, call("http://"+x.plain+"/hello"), "hello from "+apiName)
			mustSay(t, call("https://"+noName+"/"), "FAILED", "502 "+noName+" does not exist (DNS_NXDOMAIN)")
			mustSay(t, call("http://"+noName+"/"), noName+" does not exist (DNS_NXDOMAIN)")
		})
	}
}

// nodeCall does what the proxy agents of Node do: a CONNECT by name, and a request for an http:// URL in
// absolute form.
const nodeCall = `
const [url, ca, proxy] = process.argv.slice(1), u = new URL(url), p = new URL(proxy);
const http = require('http'), https = require('https'), tls = require('tls'), fs = require('fs');
const show = r => { process.stdout.write(r.statusCode + ' ' + r.statusMessage + '\n'); r.pipe(process.stdout); };
const fail = e => console.log('FAILED: ' + e);
const via = {host: p.hostname, port: p.port};
if (u.protocol == 'http:') {
  http.get({...via, path: url, headers: {host: u.host}}, show).on('error', fail);
} else {
  const path = u.hostname + ':' + (u.port || 443);
  http.request({...via, method: 'CONNECT', path, headers: {host: path}}).on('connect', (r, socket) => {
    if (r.statusCode != 200) { console.log('FAILED: CONNECT ' + r.statusCode + ' ' + r.statusMessage); socket.destroy(); return; }
    const options = {ca: fs.readFileSync(ca), servername: u.hostname, socket};
    https.get(url, {createConnection: () => tls.connect(options)}, r => { show(r); r.on('end', () => socket.destroy()); }).on('error', fail);
  }).on('error', fail).end();
}
`

func TestNodeCallsTheAPIAndPrintsTheReasonOfARefusal(t *testing.T) {
	x := startProxy(t, testWorld(t))
	call := func(u string) string {
		said, err := x.runClient(t, "node", "-e", nodeCall, "--", u, x.ca0(), "http://"+x.address)
		if err != nil {
			t.Error(err)
		}
		return said
	}
	mustSay(t, call("https://"+x.secure+"/hello"), "200 OK", "hello from "+apiName)
	mustSay(t, call("http://"+x.plain+"/hello"), "200 OK", "hello from "+apiName)
	mustSay(t, call("https://"+noName+"/"), "FAILED: CONNECT 502 "+noName+" does not exist (DNS_NXDOMAIN)")
	mustSay(t, call("http://"+noName+"/"), "502 "+noName+" does not exist (DNS_NXDOMAIN)", `"error":"DNS_NXDOMAIN"`)
}

func TestGitReadsARepositoryThroughTheProxy(t *testing.T) {
	w := testWorld(t)
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for path, content := range map[string]string{
		"HEAD": "ref: refs/heads/main\n", "info/refs": commit + "\trefs/heads/main\n",
	} {
		path = filepath.Join(w.dir, "repo.git", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := startProxy(t, w)
	for _, u := range []string{"https://" + x.secure, "http://" + x.plain} {
		said, err := x.runClient(t, "git", "ls-remote", u+"/repo.git")
		if err != nil {
			t.Error(err)
		}
		mustSay(t, said, commit+"\trefs/heads/main")
	}
	said, err := x.runClient(t, "git", "ls-remote", "https://"+noName+"/repo.git")
	if err == nil {
		t.Error("a name that does not exist was reached")
	}
	mustSay(t, said, "CONNECT tunnel failed, response 502")
}

// goClient is Go's client with a proxy.
func (x *proxy) goClient(t *testing.T, scheme string) *http.Client {
	t.Helper()
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: scheme, Host: x.address}),
		TLSClientConfig: &tls.Config{RootCAs: x.ca.Pool()},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestGoCallsTheAPIAndPrintsTheReasonOfARefusal(t *testing.T) {
	x := startProxy(t, testWorld(t))
	for _, scheme := range []string{"http", "socks5"} {
		client := x.goClient(t, scheme)
		for range 2 { // the second time over the connection that is there
			for _, u := range []string{"https://" + x.secure, "http://" + x.plain} {
				resp, err := client.Get(u + "/hello")
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				mustSay(t, string(body), "hello from "+apiName)
			}
		}
	}
	_, err := x.goClient(t, "http").Get("https://" + noName + "/")
	if err == nil || !strings.Contains(err.Error(), noName+" does not exist (DNS_NXDOMAIN)") {
		t.Errorf("Go says %v", err)
	}
	resp, err := x.goClient(t, "http").Get("http://" + noName + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Status != "502 "+noName+" does not exist (DNS_NXDOMAIN)" {
		t.Error(resp.Status)
	}
	if _, err = x.goClient(t, "socks5").Get("https://" + noName + "/"); err == nil || !strings.Contains(err.Error(), "host unreachable") {
		t.Errorf("Go says of SOCKS %v", err)
	}
}
