#!/bin/bash -eu
# Runs in the image of OSS-Fuzz: what is built, and how, is in the repository and tried there (fuzz/run.sh
# --oss-fuzz), so that this file need not change.
cd "$SRC/moonwire"
bash fuzz/build.sh "$OUT"
