#!/usr/bin/env bash
# The benches, in one command: builds everything, installs the peers, runs, writes bench/results.
#
#   bench/run.sh                    everything, about 25 minutes
#   bench/run.sh CASE…              some cases (bench/run.sh --list); merged into the results
#   bench/run.sh --rounds 9 --pin none CASE…
#   bench/run.sh --short            builds, and one tiny round of each case: for CI; no results
#
# BENCH_TOOLS: the folder into which Lune, ws, Bun and websockets are installed. BENCH_INSTALL=0
# installs nothing, as --short does; peers that are missing are left out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target BENCH_TOOLS=${BENCH_TOOLS:-$target/tools}

short=0
for word in "$@"; do
    [ "$word" = --short ] && short=1
done
# An embedder of Luau sets it too; see .cargo/config.toml of the crate.
export LUAU_CXXFLAGS=${LUAU_CXXFLAGS:--DNDEBUG}

# A failure leaves out one peer; the runner names it with the reason.
install() {
    mkdir -p "$BENCH_TOOLS"
    if ! [ -d "$BENCH_TOOLS/node/node_modules/ws" ]; then
        echo "=== npm: ws, bun"
        mkdir -p "$BENCH_TOOLS/node" && cp clients/other/package.json "$BENCH_TOOLS/node/" &&
            (cd "$BENCH_TOOLS/node" && npm install --no-audit --no-fund) || echo "without ws and Bun"
    fi
    if ! [ -x "$BENCH_TOOLS/python/bin/python" ]; then
        echo "=== pip: websockets"
        python3 -m venv "$BENCH_TOOLS/python" &&
            "$BENCH_TOOLS/python/bin/pip" install --quiet -r clients/other/requirements.txt ||
            { rm -rf "$BENCH_TOOLS/python"; echo "without websockets"; }
    fi
    if ! [ -x "$BENCH_TOOLS/lune/bin/lune" ] && ! command -v lune >/dev/null; then
        echo "=== cargo: Lune, with the profile and the flags that moonwire has (10 minutes)"
        CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
            cargo install lune --version 0.11.1 --locked --root "$BENCH_TOOLS/lune" \
            --target-dir "$BENCH_TOOLS/lune-build" && rm -rf "$BENCH_TOOLS/lune-build" ||
            echo "without Lune"
    fi
}

# One package that does not build leaves its peer out, too.
build() {
    echo "=== cargo build"
    cargo build --release --locked --workspace --exclude bench-icount && return
    echo "=== one by one"
    cargo build --release --locked -p bench-server -p bench-runner || exit 1
    local package failed=()
    for package in moonwire floors tungstenite tokio-tungstenite fastwebsockets tokio-websockets \
        ureq reqwest yawc sockudo-ws; do
        cargo build --release --locked -p "bench-$package" || failed+=("$package")
    done
    echo "not built: ${failed[*]}"
    [ $short = 0 ] || exit 1
}

# The command in the release profile; one of the cases starts it repeatedly.
command_of_the_crate() {
    echo "=== cargo build: moonwire"
    cargo build --release --locked --manifest-path ../Cargo.toml --bin moonwire ||
        echo "without the command"
}

build
command_of_the_crate
[ "${BENCH_INSTALL:-$((1 - short))}" = 0 ] || install
if [ $short = 1 ]; then
    exec "$target/release/bench-runner" --out "$target/short-results" "$@"
fi
exec "$target/release/bench-runner" "$@"
