package interop

// Programs whose resolver is c-ares: they send their questions by themselves, past the C library and what stands in its way.

const nodeCaresCall = `
const [url, ca] = process.argv.slice(1), u = new URL(url), dns = require('dns').promises;
const options = a => ({host: a, servername: u.hostname, headers: {host: u.hostname}, ca: require('fs').readFileSync(ca), timeout: 15000});
(async () => {
  const found = [...await dns.resolve4(u.hostname).catch(() => []), ...await dns.resolve6(u.hostname).catch(() => [])];
  require('https').get(options(found[0]), r => r.pipe(process.stdout)).on('error', e => { console.error(String(e)); process.exitCode = 1; });
})();
`

const pycaresCall = `
import pycares, select, socket, ssl, sys, urllib.parse
url, ca = sys.argv[1:3]
host = urllib.parse.urlsplit(url).hostname
channel, found, none = pycares.Channel(timeout=5, tries=1), [], pycares.ARES_SOCKET_BAD
for kind in pycares.QUERY_TYPE_A, pycares.QUERY_TYPE_AAAA:
    channel.query(host, kind, lambda answer, error: found.extend(r.host for r in answer or []))
while any(channel.getsock()):
    readable, writable, _ = select.select(*channel.getsock(), [], channel.timeout())
    for fd in readable:
        channel.process_fd(fd, none)
    for fd in writable:
        channel.process_fd(none, fd)
    if not readable and not writable:
        channel.process_fd(none, none)
with socket.create_connection((found[0], 443), 15) as raw, ssl.create_default_context(cafile=ca).wrap_socket(raw, server_hostname=host) as s:
    s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    while data := s.recv(4096):
        sys.stdout.write(data.decode())
`

// cares are those programs.
func cares() []program {
	return []program{
		script("c-ares of node", "node", "-e", nodeCaresCall, "--"),
		python("pycares", "pycares", pycaresCall),
	}
}
