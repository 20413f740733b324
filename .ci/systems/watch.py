#!/usr/bin/env python3
"""watch.py WINE-RUN MOONWIRE.EXE FOLDER: what moonwire.exe costs the machine under Wine. One that waits takes no
time; 200 connections at once, and 2,000 one after another, leave no handle behind. Sockets and events of a
Windows program are descriptors of Wine's server."""
import os
import subprocess
import sys
import time

wine, exe, folder = sys.argv[1:]


def start(script):
    command = [wine, exe, "run", "--echo", os.path.join(folder, script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def ready(process):
    line = process.stdout.readline().strip()
    assert line == "ready", f"{process.args}: {line!r}"
    # For whatever is still in progress.
    time.sleep(1)


def ticks(pid):
    """The CPU time of a process, in hundredths of a second."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def server():
    """The descriptors of the Wine server of this kit's programs."""
    kit = os.path.dirname(os.path.dirname(os.path.realpath(wine)))
    prefix = os.environ.get("WINEPREFIX", os.path.join(kit, "prefix"))
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                is_server = file.read().startswith("wineserver")
            with open(f"/proc/{pid}/environ") as file:
                is_server = is_server and f"WINEPREFIX={prefix}" in file.read().split("\0")
            if is_server:
                count += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            pass
    assert count > 0, f"there is no wineserver for {prefix}"
    return count


process = start("idle.luau")
try:
    ready(process)
    before = ticks(process.pid)
    time.sleep(3)
    took = ticks(process.pid) - before
finally:
    process.kill()
    process.wait()
print(f"idle: {took} ticks in 3 s")
assert took <= 1, "it computes while it waits"

process = start("connections.luau")
try:
    ready(process)
    before = server()
    ready(process)
    after = server()
    assert process.wait() == 0
finally:
    process.kill()
print(f"connections: {before} descriptors after 200, {after} after 2,000")
assert 0 < after <= before + 10, "handles are left behind"
