#!/bin/bash -eu
# Runs in the image of OSS-Fuzz. The commands of the build are in the repository and are tested there
# (fuzz/run.sh --oss-fuzz), so that this file need not change.
cd "$SRC/moonwire"
bash fuzz/build.sh "$OUT"
