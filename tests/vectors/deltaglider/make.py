#!/usr/bin/env python3
"""Makes the vectors beside it with the real xdelta3. See README.md."""
import gzip, hashlib, io, json, os, subprocess, sys, tarfile, tempfile

OUT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(__file__))
WORK = tempfile.mkdtemp()

def lcg(seed, n):
    out, x = bytearray(), seed
    while len(out) < n:
        x = (x * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        out += (x >> 33).to_bytes(4, "little")
    return bytes(out[:n])

def program(version):
    """A script, and words that differ a little from version to version."""
    words = ["%d %s" % (n, hashlib.sha256(b"%d" % (n if n % 50 else n + version * 1000)).hexdigest()[:24]) for n in range(1500)]
    return ("#!/bin/sh\necho exuvia 1.%d.0\nexit 0\n" % version + "\n".join(words)).encode()

def tar(version):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        body = program(version)
        entry = tarfile.TarInfo("exuvia")
        entry.size, entry.mode = len(body), 0o755
        archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()

def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)

def sha(data):
    return hashlib.sha256(data).hexdigest()

def delta(folder, name, reference, target, flags):
    put(f"{WORK}/reference.bin", reference)
    put(f"{WORK}/{name}", target)
    out = f"{OUT}/{folder}/{name}.delta"
    os.makedirs(os.path.dirname(out), exist_ok=True)
    source = ["-s", "reference.bin"] if reference is not None else []
    subprocess.run(["xdelta3", "-e", "-f", *flags, *source, name, out], check=True, cwd=WORK)

def metadata(folder, name, target, reference=None, key=None):
    of = {"dg-tool": "deltaglider/6.2.0", "dg-original-name": name, "dg-file-sha256": sha(target), "dg-file-size": str(len(target))}
    if reference is None:
        of["dg-compression"] = "none"
        put(f"{OUT}/{folder}/{name}", target)
    else:
        of["dg-ref-key"], of["dg-ref-sha256"] = f"releases/{folder}/reference.bin", sha(reference)
    sidecar = f"{OUT}/{folder}/{name}{'' if reference is None else '.delta'}.meta.json"
    put(sidecar, json.dumps({"Metadata": of}, indent=1).encode())

# Releases of `exuvia`: a bucket in which each packing occurs. Windows of 16 KiB, so that streams go on across them.
tars = [tar(version) for version in range(5)]
reference = tars[0]
put(f"{OUT}/releases/reference.bin", reference)
put(f"{OUT}/releases/reference.bin.meta.json", json.dumps({"Metadata": {"dg-tool": "deltaglider/6.2.0", "dg-file-sha256": sha(reference), "dg-note": "reference"}}, indent=1).encode())
for version in (0, 1):
    name = f"exuvia-1.{version}.0.tar"
    delta("releases", name, reference, tars[version], ["-9", "-W", "16384"])
    metadata("releases", name, tars[version], reference)
name = "exuvia-1.2.0-rc.1-x86_64-unknown-linux-gnu.tar.gz"
packed = gzip.compress(tars[2], mtime=0)
delta("releases", name, reference, packed, ["-9", "-D"])
metadata("releases", name, packed, reference)
metadata("releases", "exuvia-1.3.0.tgz", gzip.compress(tars[3], mtime=0))
metadata("releases", "exuvia-1.4.0.tar.zst", subprocess.run(["zstd", "-19", "-q", "-c"], input=tars[4], stdout=subprocess.PIPE, check=True).stdout)

# As DeltaGlider calls it, xdelta3 takes the delta from what gzip'd files hold.
name = "exuvia-1.5.0.tar.gz"
put(f"{OUT}/recompressed/reference.bin", gzip.compress(reference, mtime=0))
delta("recompressed", name, gzip.compress(reference, mtime=0), packed, ["-9"])
metadata("recompressed", name, packed, gzip.compress(reference, mtime=0))

# Deltas alone, one for each way of xdelta3.
old = lcg(1, 30000) + b"periodic " * 2000 + lcg(2, 20000)
new = old[:10000] + lcg(3, 3000) + old[12000:40000] + b"\0" * 5000 + lcg(4, 20000)[:18000] + b"ab" * 9000 + old[45000:]
text = b"\n".join(b"%d %s" % (n, hashlib.sha256(b"%d" % n).hexdigest()[:20].encode()) for n in range(2500))
put(f"{OUT}/deltas/old", old)
put(f"{OUT}/deltas/new.sha256", (sha(new) + "\n").encode())
put(f"{OUT}/deltas/text.sha256", (sha(text) + "\n").encode())
for name, flags, target in [
    ("one-window", ["-9"], new),
    ("windows", ["-9", "-W", "16384"], new),
    ("text-windows", ["-6", "-W", "16384"], text),
    ("plain", ["-S", "none", "-W", "16384"], new),
    ("no-checksum", ["-n"], new),
    ("no-names", ["-A="], new),
    ("level-1", ["-1", "-W", "16384"], text),
    ("djw", ["-9", "-S", "djw"], text),
    ("fgk", ["-9", "-S", "fgk"], text),
]:
    delta("deltas", name, old, target, flags)
