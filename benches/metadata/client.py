"""One update by python-tuf: prints its seconds, those of a processor, and the most memory of this process in KiB."""

import sys
import time

from securesystemslib.signer import Key  # noqa: F401 (loaded by the update otherwise)
from tuf.ngclient import Updater


def update(folder, url, root, target=None):
    with open(root, "rb") as file:
        first = file.read()
    began, before = time.perf_counter(), time.process_time()
    updater = Updater(folder, url, bootstrap=first)
    updater.refresh()
    if target is not None:
        assert updater.get_targetinfo(target) is not None
    return time.perf_counter() - began, time.process_time() - before


def main():
    seconds, cpu = update(*sys.argv[1:]) if len(sys.argv) > 1 else (0.0, 0.0)
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    print(seconds, cpu, peak)


if __name__ == "__main__":
    main()
