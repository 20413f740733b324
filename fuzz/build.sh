#!/usr/bin/env bash
# Builds all fuzz targets in the form that OSS-Fuzz requires: bash fuzz/build.sh FOLDER
#
#   FOLDER/TARGET                   the fuzzer
#   FOLDER/TARGET_seed_corpus.zip   its seeds and the found cases
#   FOLDER/TARGET.dict              its dictionary, if it has one
#   FOLDER/TARGET.options           bounds of libFuzzer
#
# oss-fuzz/build.sh calls it in the image, which sets SANITIZER and RUSTFLAGS and has nightly Rust; run.sh
# --oss-fuzz calls it anywhere. CARGO_TARGET_DIR is respected.
set -euo pipefail
out=${1:?usage: build.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=fuzz/targets.sh
source ./targets.sh

cargo=(cargo)
case $(rustc --version) in *nightly*) ;; *) cargo=(cargo +nightly) ;; esac
host=$("${cargo[@]}" -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-$PWD/target}
# The names are those of cargo fuzz; `coverage` builds of OSS-Fuzz set their own flags.
sanitizer=${SANITIZER:-address}
case $sanitizer in address | memory | thread | leak) ;; *) sanitizer=none ;; esac
"${cargo[@]}" fuzz build --fuzz-dir . --target-dir "$built" --sanitizer "$sanitizer" -O --debug-assertions

for target in $(targets); do
    cp "$built/$host/release/$target" "$out/"
    rm -f "$out/${target}_seed_corpus.zip"
    # Without folders and without attributes that differ between file systems.
    find "corpus/$target" -type f | LC_ALL=C sort | zip -qjX "$out/${target}_seed_corpus.zip" -@
    dict=$(dictionary "$target")
    [ -z "$dict" ] || cp "dict/$dict.dict" "$out/$target.dict"
    printf '[libfuzzer]\nmax_len = %s\ntimeout = %s\nrss_limit_mb = %s\n' \
        "$max_len" "$timeout" "$rss_limit_mb" >"$out/$target.options"
done
