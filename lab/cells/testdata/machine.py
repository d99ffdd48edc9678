# A host with what ordinary ones have: nscd, systemd-resolved, avahi and D-Bus alive, and programs that do what they are told.
# It runs hostile programs in one containment after the other, and prints what they say, one line of JSON for each.
import concurrent.futures, ctypes, json, os, platform, socket, struct, subprocess, sys, threading, time

spec = json.load(open(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    return path


def bound(path, line):
    old = "".join(l for l in open(path) if not l.startswith(("avahi:", "systemd-resolve:")))
    own = write("/run/hostile" + path, old + "".join(f"{n}:x:0:{line}\n" for n in ("avahi", "systemd-resolve")))
    if libc.mount(own.encode(), path.encode(), None, 4096, None):  # MS_BIND
        raise OSError(ctypes.get_errno(), path)


def await_socket(path):
    for _ in range(500):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect(path)
        except OSError:
            time.sleep(0.02)
    sys.exit(path + " did not come to be; the daemons said:\n" + open("/run/hostile/log").read()[-4000:])


def daemons():
    # Users that the host has: here there is one number only.
    bound("/etc/passwd", "0::/:/bin/false")
    bound("/etc/group", "")
    log = open("/run/hostile/log", "w")
    start = lambda *command: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ, LD_LIBRARY_PATH=spec["libraries"]))
    bus = write("/run/dbus/system.conf", """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
        <auth>EXTERNAL</auth><auth>ANONYMOUS</auth><allow_anonymous/><policy context="default"><allow user="*"/><allow own="*"/>
        <allow send_type="method_call"/><allow send_type="signal"/><allow send_requested_reply="true"/><allow receive_type="method_call"/>
        <allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>""")
    all = [start("dbus-daemon", "--nofork", "--nosyslog", "--nopidfile", "--config-file=" + bus)]
    await_socket("/run/dbus/system_bus_socket")
    write("/run/systemd/resolved.conf.d/here.conf", f"[Resolve]\nDNS={spec['isp']}\nDNSStubListener=no\nCache=no\nDNSSEC=no\nDNSOverTLS=no\n")
    os.makedirs("/run/systemd/resolve", exist_ok=True)
    os.makedirs("/run/nscd", exist_ok=True)
    all.append(start(spec["resolved"]))
    all.append(start("avahi-daemon", "-f", write("/run/avahi-daemon/conf", "[server]\nuse-ipv4=yes\nenable-dbus=no\n"), "--no-drop-root", "--no-chroot", "--no-rlimits"))
    all.append(start(spec["nscd"], "-F", "-f", write("/run/nscd/conf", "enable-cache hosts yes\ncheck-files hosts no\n")))
    for path in "/run/systemd/resolve/io.systemd.Resolve", "/run/avahi-daemon/socket", "/run/nscd/socket":
        await_socket(path)
    return all


# What they are told to open they look up.
def look_up(token):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in (token + ".probe.example.net").split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((spec["isp"], 53))
        s.send(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
        s.recv(4096)


def serve(listener):
    while True:
        with listener.accept()[0] as s:
            token = s.makefile().readline().strip()
            if token:
                look_up(token)
                s.sendall(b"done\n")


def receive(read):
    while True:
        look_up(read())


def system_v():
    q = libc.msgget(spec["program"]["key"], 0o1666)  # IPC_CREAT
    if q < 0:
        return None

    def read():
        b = ctypes.create_string_buffer(8 + 256)
        n = libc.msgrcv(q, b, 256, ctypes.c_long(0), 0)
        return b.raw[8:8 + n].decode()
    return read


def posix():
    number = {"x86_64": (240, 243), "aarch64": (180, 183)}[platform.machine()]
    q = libc.syscall(number[0], b"watertight-hostile", os.O_RDWR | os.O_CREAT, 0o666, ctypes.byref((ctypes.c_long * 8)(0, 8, 256)))
    if q < 0:
        return None

    def read():
        b = ctypes.create_string_buffer(256)
        n = libc.syscall(number[1], q, b, ctypes.c_size_t(256), None, None)
        return b.raw[:n].decode()
    return read


def left():
    while True:
        for token in os.listdir("/dev/shm/handed"):
            os.remove("/dev/shm/handed/" + token)
            return token
        time.sleep(0.02)


def openers():
    background = lambda f, *args: threading.Thread(target=f, args=args, daemon=True).start()
    home, tmp = spec["program"]["home"], spec["program"]["tmp"]
    for path in "/run/user/opener", "/var/run/docker.sock", "/run/systemd/private", home + "/.opener/socket", tmp + "/opener", "\0watertight-hostile":
        if not path.startswith("\0"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen()
        background(serve, s)
    background(serve, listener := socket.create_server(("127.0.0.1", 0)))
    os.mkdir("/dev/shm/handed")
    for read in system_v(), posix(), left:
        if read:
            background(receive, read)
    return listener.getsockname()[1]


def main():
    libc.unshare(0x08000000)  # CLONE_NEWIPC: queues of this host alone
    all = daemons()
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.connect((spec["isp"], 53))
    inherited = asking.fileno(), os.open("/run", os.O_RDONLY)
    program = dict(spec["program"], machine=os.getpid(), port=openers(), inherited=inherited)

    def go(run):
        env = dict(os.environ, **(run["env"] or {}), HOSTILE=json.dumps(dict(program, everybody=run["everybody"])))
        done = subprocess.run(run["command"] + run["attacks"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", env=env, pass_fds=inherited)
        return json.dumps({"run": run["name"], "code": done.returncode, "said": done.stdout})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for line in pool.map(go, spec["runs"]):
            print(line, flush=True)
    for d in all:
        if d.poll() is not None:
            sys.exit("a daemon ended: " + str(d.args) + "\n" + open("/run/hostile/log").read()[-4000:])
        d.kill()


main()
