#!/usr/bin/env bash
# Builds all fuzz targets and runs each for so many seconds: bash fuzz/run.sh SECONDS [TARGET…]
#
# Or builds them as OSS-Fuzz does, without its image, and checks that each runs as it would there:
# bash fuzz/run.sh --oss-fuzz FOLDER
#
# Needs nightly Rust and cargo-fuzz (cargo install cargo-fuzz). Ends with an error at the first
# finding and names its file. New inputs go to fuzz/found, which is not committed; the seeds are not
# changed. CARGO_TARGET_DIR is respected.
set -uo pipefail
usage='usage: run.sh SECONDS [TARGET…] | run.sh --oss-fuzz FOLDER'
first=${1:?$usage}
shift

# The files that the image of OSS-Fuzz has in $OUT must run alone: each fuzzer, from another folder, with its
# options, its dictionary and the seeds in its archive.
as_oss_fuzz() {
    local out=${1:?$usage} target seeds words count log
    bash "$(dirname "${BASH_SOURCE[0]}")/build.sh" "$out" || return 2
    out=$(cd "$out" && pwd) && cd "$(dirname "${BASH_SOURCE[0]}")" || return 2
    # shellcheck source=fuzz/targets.sh
    source ./targets.sh
    seeds=$(mktemp -d) && log=$(mktemp) || return 2
    # shellcheck disable=SC2064
    trap "rm -rf '$seeds' '$log'" EXIT
    for target in $(targets); do
        rm -rf "${seeds:?}"/* && unzip -q "$out/${target}_seed_corpus.zip" -d "$seeds" || return 1
        count=$(find "$seeds" -type f | wc -l)
        if [ "$count" = 0 ] || [ "$count" != "$(find "corpus/$target" -type f | wc -l)" ]; then
            echo "=== $target: $count seeds in the archive, not those of corpus/$target"
            return 1
        fi
        words=()
        [ -z "$(dictionary "$target")" ] || words=(-dict="$out/$target.dict")
        if ! (cd / && "$out/$target" -max_len="$max_len" -timeout="$timeout" -rss_limit_mb="$rss_limit_mb" \
            -runs=0 "${words[@]}" "$seeds") >"$log" 2>&1; then
            tail -40 "$log"
            echo "=== $target: fails on its seeds"
            return 1
        fi
        printf '%-11s %3d seeds, %s\n' "$target" "$count" "${words[0]:+with a dictionary}"
    done
    echo '!!! NOT CHECKED: oss-fuzz/Dockerfile and the image itself (oss-fuzz/README.md says how, where there is docker)'
}

if [ "$first" = --oss-fuzz ]; then
    as_oss_fuzz "$@"
    exit
fi
seconds=$first
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
# shellcheck source=fuzz/targets.sh
source ./targets.sh
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(targets)
options=()
[ -z "${CARGO_TARGET_DIR:-}" ] || options=(--target-dir "$CARGO_TARGET_DIR")

fuzz=(nice -n "${NICE:-0}" cargo +nightly fuzz)
"${fuzz[@]}" build --fuzz-dir . "${options[@]}" || exit 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
    mkdir -p "found/$target"
    dict=$(dictionary "$target")
    rc=0
    # The fuzzer reads each seed first, then runs for that long.
    "${fuzz[@]}" run --fuzz-dir . "${options[@]}" "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len="$max_len" -timeout="$timeout" -rss_limit_mb="$rss_limit_mb" \
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
