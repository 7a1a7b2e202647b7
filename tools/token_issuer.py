"""An issuer of bearer tokens for development, without a server.

Real deployments have one: Keycloak, Entra, a SMART on FHIR server. This one signs what it is asked to
sign, with a key in a folder; whoever reads that folder is every user. Needs openssl 3 and nothing else.

    token_issuer.py keys DIR            makes key.pem and jwks.json in DIR
    token_issuer.py token DIR --hospital north-lake --scope "user/*.read user/*.write" > token
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
import uuid

ISSUER = "https://issuer.neurotriage.example"
# A key of Ed25519 is the end of its SubjectPublicKeyInfo (RFC 8410).
PUBLIC_BYTES = 32


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def public_key(folder: pathlib.Path) -> bytes:
    key = folder / "key.pem"
    return openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")[-PUBLIC_BYTES:]


def key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def keys(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "key.pem"
    if key.exists():
        raise SystemExit(f"{key} is there; take another folder or remove it")
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(openssl("genpkey", "-algorithm", "ed25519"))
    public = public_key(folder)
    jwk = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key_id(public), "x": encode(public)}
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}, indent=2) + "\n")


def token(folder: pathlib.Path, asked: argparse.Namespace) -> str:
    now = int(time.time())
    claims = {
        "iss": asked.issuer,
        "aud": asked.audience,
        "sub": asked.subject,
        "iat": now,
        "exp": now + asked.minutes * 60,
        "jti": str(uuid.uuid4()),
        "scope": asked.scope,
    }
    if asked.hospital:
        claims["hospital_id"] = asked.hospital
    if asked.patient:
        claims["patient"] = asked.patient
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": key_id(public_key(folder))}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    with tempfile.NamedTemporaryFile() as message:
        message.write(signed.encode())
        message.flush()
        key = str(folder / "key.pem")
        signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message.name)
    return f"{signed}.{encode(signature)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Keys and tokens for development.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("keys", help="make key.pem and jwks.json")
    make.add_argument("folder", type=pathlib.Path)
    sign = commands.add_parser("token", help="write a token to standard output")
    sign.add_argument("folder", type=pathlib.Path)
    sign.add_argument("--issuer", default=ISSUER)
    sign.add_argument("--audience", default="neurotriage")
    sign.add_argument("--subject", default="developer")
    sign.add_argument("--hospital", help="id of the caller's hospital")
    sign.add_argument("--patient", help="id of the one patient of patient/ scopes")
    sign.add_argument("--scope", required=True, help='such as "user/*.read user/Study.c"')
    sign.add_argument("--minutes", type=int, default=60)
    asked = parser.parse_args()
    if asked.command == "keys":
        keys(asked.folder)
    else:
        print(token(asked.folder, asked))


if __name__ == "__main__":
    main()
