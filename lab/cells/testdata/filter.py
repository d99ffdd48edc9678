# A sandbox that is a filter of system calls and nothing else: no socket, no connection, no datagram. It runs a program in it.
import ctypes, os, platform, struct, sys

numbers = {"x86_64": (41, 42, 44, 46, 307), "aarch64": (198, 203, 206, 211, 269)}[platform.machine()]
code = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # the call's number
for n in numbers:
    code += [struct.pack("HBBI", 0x15, 0, 1, n), struct.pack("HBBI", 6, 0, 0, 0x00050001)]  # EPERM
code.append(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
text = ctypes.create_string_buffer(b"".join(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
