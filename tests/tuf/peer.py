"""What python-tuf makes of metadata: one request a line (JSON) on standard input, one answer a line.

Bytes travel as hexadecimal digits. An answer without "error" is an acceptance.
"""

import json
import sys
from datetime import datetime

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType


def canonical(request):
    text = bytes.fromhex(request["json"]).decode()
    return {"bytes": encode_canonical(json.loads(text)).encode().hex()}


def rewrite(request):
    """Reads a file and writes it again."""
    metadata = Metadata.from_bytes(bytes.fromhex(request["bytes"]))
    return {"bytes": metadata.to_bytes().hex(), "payload": metadata.signed_bytes.hex()}


def update(request):
    """Runs one update as far as it goes, and counts the steps that succeeded."""
    steps = [(name, bytes.fromhex(data)) for name, data in request["steps"]]
    done = 0
    why = None
    trusted = None
    for name, data in steps:
        try:
            if name == "bootstrap":
                trusted = TrustedMetadataSet(data, EnvelopeType.METADATA)
                trusted.reference_time = datetime.fromisoformat(request["now"])
            elif name == "root":
                trusted.update_root(data)
            elif name == "timestamp":
                trusted.update_timestamp(data)
            elif name == "snapshot":
                trusted.update_snapshot(data)
            elif name == "targets":
                trusted.update_targets(data)
            else:
                trusted.update_delegated_targets(data, name, "targets")
        except Exception as error:  # noqa: BLE001
            why = f"{name}: {type(error).__name__}: {error}"
            if error.__cause__ is not None:
                why += f" ({error.__cause__})"
            break
        done += 1
    return {"done": done, "why": why}


def matches(request):
    role = DelegatedRole("role", [], 1, False, [request["pattern"]])
    return {"matches": role.is_delegated_path(request["path"])}


def bins(request):
    succinct = SuccinctRoles([], 1, request["bits"], "bin")
    return {"name": succinct.get_role_for_target(request["path"]), "last": succinct.suffix_len}


SIGNERS = {
    "ml-dsa": lambda: CryptoSigner(MLDSA65PrivateKey.generate()),
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa": CryptoSigner.generate_ecdsa,
    "rsa": CryptoSigner.generate_rsa,
}


def make(request):
    """A repository, made and signed by python-tuf, each role with two keys of the asked-for kind."""
    expires = datetime.fromisoformat(request["expires"])
    signers = {role: [SIGNERS[request["kind"]]() for _ in range(2)] for role in ("root", "timestamp", "snapshot", "targets")}
    root = Root(expires=expires)
    for role, both in signers.items():
        for signer in both:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = 2
    delegated = SIGNERS[request["kind"]]()
    bins = SuccinctRoles([], 1, 2, "bin")
    targets = Targets(expires=expires, delegations=Delegations({}, succinct_roles=bins))
    targets.add_key(delegated.public_key)
    target = TargetFile.from_data("dir/file", b"content", ["sha256", "sha512", "blake2b-256", "sha3_256"])
    bin_role = Targets(expires=expires, targets={"dir/file": target})
    bin_name = bins.get_role_for_target("dir/file")
    files = {}

    def sign(name, signed, by):
        metadata = Metadata(signed)
        for signer in by:
            metadata.sign(signer, append=True)
        files[name] = metadata.to_bytes()
        return MetaFile.from_data(signed.version, files[name], ["sha256", "sha512"])

    meta = {f"{bin_name}.json": sign(bin_name, bin_role, [delegated])}
    meta["targets.json"] = sign("targets", targets, signers["targets"])
    snapshot_meta = sign("snapshot", Snapshot(expires=expires, meta=meta), signers["snapshot"])
    sign("timestamp", Timestamp(expires=expires, snapshot_meta=snapshot_meta), signers["timestamp"])
    sign("bootstrap", root, signers["root"])
    old = signers["root"]
    root.version += 1
    root.revoke_key(old[0].public_key.keyid, "root")
    new = SIGNERS[request["kind"]]()
    root.add_key(new.public_key, "root")
    sign("root", root, [*old, new])
    return {"files": {name: data.hex() for name, data in files.items()}, "bin": bin_name}


VERBS = {f.__name__: f for f in (canonical, rewrite, update, matches, bins, make)}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = VERBS[request["verb"]](request)
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
