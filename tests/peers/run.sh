#!/usr/bin/env bash
# Runs other clients on the WebSocket cases of tests/hostile and writes results/NAME.json.
#
#   run.sh [CLIENT…]     tungstenite fastwebsockets tokio-websockets websockets ws (default: all)
#
# Needs Rust, Python 3 with venv, node with npm, and their registries. Python's and node's clients
# are installed into a temporary directory, in the versions of WEBSOCKETS and WS (default: the
# newest); those in Rust are in rust/Cargo.lock. Afterwards, for docs/STRICTNESS.md:
#
#   MOONWIRE_BLESS=1 cargo test --test hostile table
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || set -- tungstenite fastwebsockets tokio-websockets websockets ws
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
target=${CARGO_TARGET_DIR:-$here/rust/target}
export CARGO_TARGET_DIR=$target
cargo build --quiet --locked --manifest-path "$here/rust/Cargo.toml"

# run NAME COMMAND…
run() {
    local name=$1 start=$SECONDS
    "$target/debug/hostile-peers" run "$@" >"$temp/$name.json" 2>"$temp/$name.log" || {
        tail "$temp/$name.log"
        return 1
    }
    mv "$temp/$name.json" "$here/results/$name.json"
    echo "$name: $(cut -d' ' -f3- "$temp/$name.log" | sort | uniq -c | sort -rn | awk '{$1 = $1; printf "%s%s", sep, $0; sep = ", "}') ($((SECONDS - start)) s)"
}

mkdir -p "$here/results"
for client; do
    case $client in
    tungstenite | fastwebsockets | tokio-websockets)
        run "$client" "$target/debug/${client//-/_}_client"
        ;;
    websockets)
        python3 -m venv "$temp/venv"
        "$temp/venv/bin/pip" install --quiet --disable-pip-version-check "websockets${WEBSOCKETS:+==$WEBSOCKETS}"
        run websockets "$temp/venv/bin/python" "$here/websockets_client.py"
        ;;
    ws)
        npm install --silent --no-fund --no-audit --prefix "$temp/npm" "ws${WS:+@$WS}"
        NODE_MODULES=$temp/npm run ws node "$here/ws_client.mjs"
        ;;
    *) echo "no client $client" && exit 2 ;;
    esac
done
