#!/usr/bin/env python3
"""Run the Autobahn fuzzer against one WebSocket client or server.

    abrun.py client AGENT [options] -- COMMAND...   fuzzingserver; COMMAND is the client under test
    abrun.py server AGENT [options] -- COMMAND...   fuzzingclient; COMMAND is the echo server under test

  --home DIR      where setup.sh installed the suite   (AUTOBAHN_HOME, default: ./inst next to this file)
  --out DIR       reports and logs                     (default: ./out/AGENT-<mode>)
  --cases LIST    e.g. 1.*,9.7.*                       (default: all, 517 cases)
  --exclude LIST  e.g. 9.*,12.*,13.*
  --timeout S     for COMMAND (client) / the whole run (server), default 1800
  --options JSON  autobahn protocol options, e.g. {"closeHandshakeTimeout": 5} on a busy machine (default there: 1 s)
  --strict        exit 1 for everything that is not OK/INFORMATIONAL/NON-STRICT/UNIMPLEMENTED
  --keep          keep the per-case reports (default: only those of cases that are not OK)

COMMAND's environment: AUTOBAHN_AGENT, AUTOBAHN_URL=ws://127.0.0.1:PORT, AUTOBAHN_PORT.
As a server it has to listen on 127.0.0.1:$AUTOBAHN_PORT and echo.
exit: 0 fine, 1 some FAILED, 2 harness trouble, 3 cases without a result, 4 COMMAND failed or ran too long.
"""
import argparse
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import quote

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ws_get(port, path, timeout):
    """Open a WebSocket, return the first text message ("" if there was none); waits for the close."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        key = base64.b64encode(os.urandom(16)).decode()
        s.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path, port, key)).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            d = s.recv(65536)
            if not d:
                raise OSError("no handshake")
            data += d
        head, data = data.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0] + b" ":
            raise OSError(head.split(b"\r\n")[0].decode())
        text = ""
        while True:
            while len(data) >= 2 and len(data) >= 2 + (data[1] & 127):   # short frames only
                n = data[1] & 127
                op, body, data = data[0] & 15, data[2:2 + n], data[2 + n:]
                if op == 1 and not text:
                    text = body.decode()
                if op == 8:
                    s.sendall(b"\x88\x80\0\0\0\0" if n < 2 else b"\x88\x82\0\0\0\0" + body[:2])
            try:
                d = s.recv(65536)
            except ConnectionResetError:     # autobahn drops the TCP connection right after its close
                d = b""
            if not d:
                return text
            data += d


def stop(p, grace=5):
    if p.poll() is None:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(grace)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def stop_group(p, grace=5):
    """COMMAND runs in its own session: end it and its children."""
    if p.poll() is None:
        os.killpg(p.pid, signal.SIGTERM)
        try:
            p.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()


def patterns(s):
    return [x for x in (s or "").split(",") if x]


def write_spec(o, spec):
    spec.update({"outdir": os.path.join(o.out, "reports"), "cases": patterns(o.cases),
                 "exclude-cases": patterns(o.exclude), "exclude-agent-cases": {},
                 "options": o.options})
    p = os.path.join(o.out, "spec.json")
    with open(p, "w") as f:
        json.dump(spec, f, indent=1)
    return p


def env_for(o, port):
    e = dict(os.environ)
    e.update(AUTOBAHN_AGENT=o.agent, AUTOBAHN_URL="ws://127.0.0.1:%d" % port, AUTOBAHN_PORT=str(port))
    return e


def run_client(o):
    wstest = os.path.join(o.home, "bin", "wstest")
    log = open(os.path.join(o.out, "fuzzer.log"), "wb")
    for _ in range(5):                       # the port may be taken between choosing and listening
        port = free_port()
        spec = write_spec(o, {"url": "ws://127.0.0.1:%d" % port})
        srv = subprocess.Popen([wstest, "-m", "fuzzingserver", "-s", spec, "-u", "0"],
                               stdout=log, stderr=subprocess.STDOUT, cwd=o.out)
        end = time.time() + 30
        while time.time() < end and srv.poll() is None:
            with open(log.name, "rb") as f:
                if b"LISTENING %d\n" % port in f.read():
                    break
            time.sleep(0.05)
        else:
            stop(srv)
            continue
        break
    else:
        print("the fuzzing server did not start, see %s" % log.name)
        return None, None, 2
    try:
        expected = int(ws_get(port, "/getCaseCount?agent=" + quote(o.agent), 30))
        t = time.time()
        timed_out = False
        p = subprocess.Popen(o.command, env=env_for(o, port), start_new_session=True)
        try:
            rc = p.wait(o.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            stop_group(p)
            rc = p.returncode
        wall = time.time() - t
        if timed_out:
            print("COMMAND ran past %d s and was ended" % o.timeout)
        elif rc:
            print("COMMAND exited with %d" % rc)
        # Always write the reports again: the client may have died before its own
        # /updateReports.  The server is single-threaded, so the answer is a barrier too.
        time.sleep(0.3)
        ws_get(port, "/updateReports?agent=" + quote(o.agent), 120)
        r = subprocess.run(["ps", "-o", "time=,rss=", "-p", str(srv.pid)], stdout=subprocess.PIPE).stdout.decode().split()
        if len(r) == 2:
            print("fuzzer: cpu %s, rss %d MiB" % (r[0], int(r[1]) // 1024))
        o.command_failed = timed_out or rc != 0
        return expected, wall, 0
    finally:
        stop(srv)


def run_server(o):
    wstest = os.path.join(o.home, "bin", "wstest")
    port = free_port()
    spec = write_spec(o, {"servers": [{"agent": o.agent, "url": "ws://127.0.0.1:%d" % port}]})
    srv = subprocess.Popen(o.command, env=env_for(o, port), start_new_session=True)
    try:
        end = time.time() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if srv.poll() is not None or time.time() > end:
                    print("COMMAND does not listen on 127.0.0.1:%d" % port)
                    return None, None, 2
                time.sleep(0.05)
        logname = os.path.join(o.out, "fuzzer.log")
        t = time.time()
        with open(logname, "wb") as log:
            p = subprocess.Popen([wstest, "-m", "fuzzingclient", "-s", spec], stdout=log,
                                 stderr=subprocess.STDOUT, cwd=o.out)
            try:
                p.wait(o.timeout)
            except subprocess.TimeoutExpired:
                print("the run took longer than %d s" % o.timeout)
                stop(p)
        wall = time.time() - t
        expected = 0
        with open(logname, errors="replace") as f:
            for line in f:
                if line.startswith("Ok, will run "):
                    expected = int(line.split()[3])
        return expected, wall, 0
    finally:
        stop_group(srv)


def main():
    argv = sys.argv[1:]
    command = []
    if "--" in argv:
        i = argv.index("--")
        argv, command = argv[:i], argv[i + 1:]
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument("mode", choices=["client", "server"])
    ap.add_argument("agent")
    ap.add_argument("--home", default=os.environ.get("AUTOBAHN_HOME", os.path.join(HERE, "inst")))
    ap.add_argument("--out")
    ap.add_argument("--cases", default=os.environ.get("AUTOBAHN_CASES", "*"))
    ap.add_argument("--exclude", default=os.environ.get("AUTOBAHN_EXCLUDE", ""))
    ap.add_argument("--timeout", type=int, default=int(os.environ.get("AUTOBAHN_TIMEOUT", "1800")))
    ap.add_argument("--options", type=json.loads, default=json.loads(os.environ.get("AUTOBAHN_OPTIONS", "{}")))
    ap.add_argument("--strict", action="store_true")
    ap.add_argument("--keep", action="store_true")
    o = ap.parse_args(argv)
    o.command = command
    o.command_failed = False
    if not command:
        ap.error("no COMMAND")
    o.home = os.path.abspath(o.home)
    if not os.access(os.path.join(o.home, "bin", "wstest"), os.X_OK):
        print("no %s/bin/wstest: run setup.sh first" % o.home)
        return 2
    o.out = os.path.abspath(o.out or os.path.join(HERE, "out", "%s-%s" % (o.agent, o.mode)))
    shutil.rmtree(os.path.join(o.out, "reports"), ignore_errors=True)
    os.makedirs(o.out, exist_ok=True)

    t0 = time.time()
    try:
        expected, wall, rc = (run_client if o.mode == "client" else run_server)(o)
    except (OSError, ValueError) as e:
        print("harness trouble: %s (see %s/fuzzer.log)" % (e, o.out))
        return 2
    if rc:
        return rc
    reports = os.path.join(o.out, "reports")
    rc = subprocess.call([sys.executable, os.path.join(HERE, "summarize.py"), reports, o.agent,
                          "--expected", str(expected), "--wall", "%.3f" % wall,
                          "--json", os.path.join(o.out, "summary.json")] + (["--strict"] if o.strict else []))
    if not o.keep and rc != 2 and os.path.isdir(reports):
        with open(os.path.join(o.out, "summary.json")) as f:
            keep = set(json.load(f)["not_ok"])
        with open(os.path.join(reports, "index.json")) as f:
            for c, r in json.load(f).get(o.agent, {}).items():
                if c not in keep or r["behavior"] == "UNIMPLEMENTED":
                    for name in (r["reportfile"], r["reportfile"][:-4] + "html"):
                        try:
                            os.remove(os.path.join(reports, name))
                        except OSError:
                            pass
    print("total %.1f s, reports in %s" % (time.time() - t0, reports))
    return 4 if rc != 2 and o.command_failed else rc


if __name__ == "__main__":
    sys.exit(main())
