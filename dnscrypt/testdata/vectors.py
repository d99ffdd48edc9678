"""Writes vectors.json with libsodium, which shares no code with the package: python3 vectors.py > vectors.json

Made with libsodium 1.0.18 of Debian 12, called through ctypes. Keys and nonces are counted up, so that the file is the
same every time.
"""
import ctypes
import json

sodium = ctypes.CDLL("libsodium.so.23")
assert sodium.sodium_init() >= 0


def count(start, n):
    return bytes((start + i) % 256 for i in range(n))


def call(name, size, *args):
    out = ctypes.create_string_buffer(size)
    f = getattr(sodium, name)
    assert f(out, *args) == 0, name
    return out.raw


def length(b):
    return ctypes.c_ulonglong(len(b))


def pad(b, size):
    return b + b"\x80" + bytes(size - len(b) - 1)


query = count(1, 29)
response = count(101, 90)
resolver_secret, client_secret = count(7, 32), count(77, 32)
resolver_public = call("crypto_scalarmult_base", 32, resolver_secret)
client_public = call("crypto_scalarmult_base", 32, client_secret)
client_magic = b"magic!!!"
client_nonce, resolver_nonce = count(200, 12), count(50, 12)

seed = count(33, 32)
provider_public = ctypes.create_string_buffer(32)
provider_secret = ctypes.create_string_buffer(64)
assert sodium.crypto_sign_seed_keypair(provider_public, provider_secret, seed) == 0

sets = []
for version, name in ((1, "crypto_box"), (2, "crypto_box_curve25519xchacha20poly1305")):
    key = call(name + "_beforenm", 32, resolver_public, client_secret)
    assert key == call(name + "_beforenm", 32, client_public, resolver_secret)

    def seal(m, nonce):
        return call(name + "_easy_afternm", len(m) + 16, m, length(m), nonce, key)

    signed = resolver_public + client_magic + (4711).to_bytes(4, "big") + (1700000000).to_bytes(4, "big") + (1700086400).to_bytes(4, "big")
    certs = []
    for extensions in (b"", b"of a later version"):
        m = signed + extensions
        signature = ctypes.create_string_buffer(64)
        assert sodium.crypto_sign_detached(signature, None, m, length(m), provider_secret) == 0
        certs.append(b"DNSC" + version.to_bytes(2, "big") + b"\0\0" + signature.raw + m)
    sets.append({
        "encryption": version,
        "key": key.hex(),
        "certificate": certs[0].hex(),
        "extended": certs[1].hex(),
        "query_packet": (client_magic + client_public + client_nonce + seal(pad(query, 256), client_nonce + bytes(12))).hex(),
        "response_packet": (b"r6fnvWj8" + client_nonce + resolver_nonce + seal(pad(response, 128), client_nonce + resolver_nonce)).hex(),
    })

print(json.dumps({
    "provider_seed": seed.hex(),
    "provider_public": provider_public.raw.hex(),
    "resolver_secret": resolver_secret.hex(),
    "client_secret": client_secret.hex(),
    "client_nonce": client_nonce.hex(),
    "resolver_nonce": resolver_nonce.hex(),
    "query": query.hex(),
    "response": response.hex(),
    "sets": sets,
}, indent=1))
