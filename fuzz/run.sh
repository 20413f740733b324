#!/usr/bin/env bash
# Builds all fuzz targets and runs each for so many seconds: bash fuzz/run.sh SECONDS [TARGET…]
#
# Wants nightly Rust and cargo-fuzz (cargo install cargo-fuzz). Ends with an error at the first
# finding and names its file. New inputs go to fuzz/found, which is not committed; the seeds stay
# as they are. CARGO_TARGET_DIR is respected.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
seconds=${1:?usage: run.sh SECONDS [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\([a-z_0-9]*\)"$/\1/p' Cargo.toml)
options=()
[ -z "${CARGO_TARGET_DIR:-}" ] || options=(--target-dir "$CARGO_TARGET_DIR")

dictionary() {
    case $1 in
        head | handshake | stream | redirect | secrets | proxy | tunnelled | diff_head) echo head ;;
        frame | message | session | operations | diff_frame) echo frame ;;
        url | join | proxy_rules) echo url ;;
        chunked | sse) echo "$1" ;;
    esac
}

fuzz=(nice -n "${NICE:-0}" cargo +nightly fuzz)
"${fuzz[@]}" build --fuzz-dir . "${options[@]}" || exit 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
    mkdir -p "found/$target"
    dict=$(dictionary "$target")
    rc=0
    # It reads each seed first, and then goes on for that long.
    "${fuzz[@]}" run --fuzz-dir . "${options[@]}" "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=1200 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 ${dict:+-dict="dict/$dict.dict"} >"$log" 2>&1 || rc=$?
    coverage=$(grep -aoE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    printf '%-11s %s, %s runs, %s/s\n' "$target" "${coverage:-no coverage}" "${count:-?}" "${speed:-?}"
    if [ $rc != 0 ]; then
        grep -avE '^#[0-9]' "$log" | tail -40
        file=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
        printf '=== %s: a finding: %s\n' "$target" "${file:+$PWD/${file#./}}"
        exit 1
    fi
done
