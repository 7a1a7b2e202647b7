"""Makes the reference values of the tests from the descriptions of the formats, with nothing but hashlib.

ChaCha20, Poly1305: RFC 8439. HChaCha20: draft-irtf-cfrg-xchacha-03, section 2.2. HKDF: RFC 5869.
"""

import base64
import hashlib
import hmac
import struct

KEY = bytes(range(1, 33))  # the key that the tests use


def frame(*fields):
    out = b""
    for field in fields:
        if field is None:
            out += b"\xff" * 4
            continue
        if isinstance(field, str):
            field = field.encode()
        if isinstance(field, int):
            field = struct.pack(">q", field)
        out += struct.pack(">I", len(field)) + field
    return out


def rounds(state):
    def rotl(value, by):
        return ((value << by) | (value >> (32 - by))) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        x[a] = (x[a] + x[b]) & 0xFFFFFFFF
        x[d] = rotl(x[d] ^ x[a], 16)
        x[c] = (x[c] + x[d]) & 0xFFFFFFFF
        x[b] = rotl(x[b] ^ x[c], 12)
        x[a] = (x[a] + x[b]) & 0xFFFFFFFF
        x[d] = rotl(x[d] ^ x[a], 8)
        x[c] = (x[c] + x[d]) & 0xFFFFFFFF
        x[b] = rotl(x[b] ^ x[c], 7)

    x = list(state)
    for _ in range(10):
        quarter(0, 4, 8, 12)
        quarter(1, 5, 9, 13)
        quarter(2, 6, 10, 14)
        quarter(3, 7, 11, 15)
        quarter(0, 5, 10, 15)
        quarter(1, 6, 11, 12)
        quarter(2, 7, 8, 13)
        quarter(3, 4, 9, 14)
    return x


CONSTANT = struct.unpack("<4I", b"expand 32-byte k")


def hchacha20(key, nonce16):
    x = rounds(CONSTANT + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))
    return struct.pack("<8I", *(x[:4] + x[12:]))


def block(key, counter, nonce12):
    state = CONSTANT + struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce12)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(rounds(state), state)))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def xchacha20poly1305(key, nonce, message, associated):
    key, nonce = hchacha20(key, nonce[:16]), b"\0" * 4 + nonce[16:]
    stream = b"".join(block(key, 1 + at, nonce) for at in range((len(message) + 63) // 64))
    cipher = bytes(a ^ b for a, b in zip(message, stream))

    def pad(part):
        return part + b"\0" * (-len(part) % 16)

    tagged = pad(associated) + pad(cipher) + struct.pack("<QQ", len(associated), len(cipher))
    return cipher + poly1305(block(key, 0, nonce)[:32], tagged)


def hkdf(key, info):
    extracted = hmac.digest(b"\0" * 32, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main():
    row = (7).to_bytes(16, "big")
    text = b"Sample"
    content = b"\x01" + struct.pack(">I", len(text)) + text
    content += b"\0" * (-len(content) % 32)
    nonce = b"\x09" * 24
    associated = frame("neurotriage.seal", "v1", "a", "north", "patient", "name", row)
    print("sealed ", "v1.a." + b64(nonce + xchacha20poly1305(KEY, nonce, content, associated)))

    info = frame("neurotriage.index.v1", "exact", "patient", "medical_record_number", "sample")
    token = hmac.digest(hkdf(KEY, info), b"12-34a", "sha256")[:16]
    print("token  ", "i1.a." + b64(token))

    previous = hashlib.sha256(frame("neurotriage.audit.genesis.v1", "sample", 3)).digest()
    noon = 1795694400  # 2026-11-26 12:00 UTC
    for number in (1, 2):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736" if number % 2 == 0 else None
        entry = frame(
            "neurotriage.audit.v1", "sample", 3, number, (noon + number) * 1_000_000,
            f"staff-{number % 3}", "read", "patient", number.to_bytes(16, "big"), "TREAT",
            trace, "done", f"revision={number}",
        )
        previous = hashlib.sha256(previous + entry).digest()
    print("row 2  ", previous.hex())
    head = frame("neurotriage.audit.head.v1", "sample", 3, 2, previous)
    mac = hmac.digest(KEY, frame("neurotriage.audit.key", "a") + head, "sha256")
    print("head 2 ", "h1.a." + b64(mac))


main()
