#!/usr/bin/env bash
# Counts the instructions of the hot paths and fails if one has grown by more than 5 %.
#
#   bench/icount.sh [PATH…]            compares with bench/icount/baseline.json
#   bench/icount.sh --bless [PATH…]    writes it
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target
export LUAU_CXXFLAGS=${LUAU_CXXFLAGS:--DNDEBUG}

if ! command -v valgrind >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo "needs valgrind"; exit 1; }
    apt-get update -q && apt-get install -qy --no-install-recommends valgrind || exit 1
fi
cargo build --release --locked -p bench-icount || exit 1
# The command, if the instructions of its start are to be counted.
if [ -z "${*//--bless/}" ] || [[ " $* " == *" start-"* ]]; then
    cargo build --release --locked --manifest-path ../Cargo.toml --bin moonwire || exit 1
fi
exec "$target/release/bench-icount" "$@"
