"""What other implementations make of our keys and signatures, and what they make for us.

    peer.py key PRIVATE PUBLIC                       a new key pair, in PEM
    peer.py rewrite PRIVATE OUT_PRIVATE OUT_PUBLIC   the same key, read and written again
    peer.py sign PRIVATE FILE SIGNATURE CONTEXT
    peer.py verify PUBLIC FILE SIGNATURE CONTEXT     exit 0, or 4 when it does not verify

`verify` asks two implementations, and they must agree.
"""

import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from dilithium_py.ml_dsa import ML_DSA_65


def write_private(key, path):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    Path(path).write_bytes(pem)


def write_public(key, path):
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    Path(path).write_bytes(pem)


def read_private(path):
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    assert isinstance(key, MLDSA65PrivateKey)
    return key


def verify(public, file, signature, context):
    key = serialization.load_pem_public_key(Path(public).read_bytes())
    assert isinstance(key, MLDSA65PublicKey)
    message, made = Path(file).read_bytes(), Path(signature).read_bytes()
    try:
        key.verify(made, message, context.encode())
        first = True
    except InvalidSignature:
        first = False
    second = ML_DSA_65.verify(key.public_bytes_raw(), message, made, context.encode())
    assert first == second, f"cryptography says {first}, dilithium-py says {second}"
    return first


def main(verb, *args):
    if verb == "key":
        key = MLDSA65PrivateKey.generate()
        write_private(key, args[0])
        write_public(key.public_key(), args[1])
    elif verb == "rewrite":
        key = read_private(args[0])
        write_private(key, args[1])
        write_public(key.public_key(), args[2])
    elif verb == "sign":
        private, file, signature, context = args
        made = read_private(private).sign(Path(file).read_bytes(), context.encode())
        Path(signature).write_bytes(made)
    elif verb == "verify":
        return 0 if verify(*args) else 4
    else:
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
