#!/usr/bin/env bash
# Install the Autobahn WebSocket test suite into a folder.
#
#   setup.sh DIR            Python 3 port of autobahntestsuite 25.10.1 (needs pip only)
#
# Afterwards DIR/bin/wstest runs it (loopback only), DIR/bin/python is its interpreter.
# PYTHON=/path/to/python3 chooses the Python 3 (3.9 .. 3.13 have wsaccel wheels).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { sed -n 2,7p "$0"; exit 2; }
mkdir -p "$1"; dir=$(cd "$1" && pwd)
py3=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_PYTHON_VERSION_WARNING=1
t0=$(date +%s)

finish() {            # $1: interpreter
    mkdir -p "$dir/bin"
    cp "$here/wstest_local.py" "$dir/bin/wstest_local.py"
    { printf '#!/bin/sh\n'
      printf 'PYTHONUNBUFFERED=1 exec "%s" "$@"\n' "$1"
    } > "$dir/bin/python"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$dir/bin/python" "$dir/bin/wstest_local.py" > "$dir/bin/wstest"
    chmod +x "$dir/bin/python" "$dir/bin/wstest"
    "$dir/bin/wstest" --self-test
    echo "setup: installed in $dir, $(du -sm "$dir" | cut -f1) MB, $(( $(date +%s) - t0 )) s"
}

"$py3" -c 'import sys; assert (3, 9) <= sys.version_info < (3, 14), "Python 3.9 .. 3.13 wanted, this is %d.%d" % sys.version_info[:2]'
"$py3" -m venv --clear "$dir/venv" 2>/dev/null || {
    # Debian without python3-venv: the same from pip
    "$py3" -m pip install -q --target "$dir/vtool" virtualenv
    PYTHONPATH="$dir/vtool" "$py3" -m virtualenv -q "$dir/venv"
}
pip="$dir/venv/bin/python -m pip"
# build tools for three old pure-Python sdists: pinned, so that no newer setuptools breaks setup.py
$pip install -q 'setuptools==80.9.0' 'wheel==0.45.1' 'fissix==24.4.24' 'six==1.17.0' \
    'Twisted>=24.11,<27' 'zope.interface>=7,<9'
# C speed-ups (masking, UTF-8); everything works without them, only the 9.* cases get slow
$pip install -q --only-binary :all: 'wsaccel==0.6.7' || $pip install -q 'wsaccel==0.6.7' \
    || echo "setup: no wsaccel here: the fuzzer will use pure Python masking (slow)" >&2
cat > "$dir/sdists.txt" <<'R'
autobahn==0.10.9 --hash=sha256:3fecc1e2a26a0421128ddcfb4e577f0bc669dd65d0e0fdad1c773965cbcef75a
txaio==2.1.0 --hash=sha256:b94e3dbc83760b68955160fc61a2c34e2798f7a90c41672560f40dfd2946a864
autobahntestsuite==25.10.1 --hash=sha256:b083d6e15330fc16f3e5f0975cce2b15f21bfa0c6db09547316b1852c6dbd6df
R
$pip install -q --no-deps --no-compile --no-binary :all: --no-build-isolation --require-hashes -r "$dir/sdists.txt"
site=$("$dir/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
"$dir/venv/bin/python" -W ignore::SyntaxWarning "$here/port_py3.py" "$site/autobahntestsuite"
$pip uninstall -q -y fissix appdirs wheel setuptools
finish "$dir/venv/bin/python"
