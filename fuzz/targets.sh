# shellcheck shell=bash disable=SC2034
# Facts about the targets for run.sh and build.sh, which source it in this folder with bash.

targets() {
    sed -n 's/^name = "\([a-z_0-9]*\)"$/\1/p' Cargo.toml
}

# dictionary TARGET: the dictionary of a target whose input has words.
dictionary() {
    case $1 in
        head | handshake | stream | redirect | secrets | proxy | tunnelled | diff_head) echo head ;;
        frame | message | session | operations | diff_frame) echo frame ;;
        url | join | proxy_rules) echo url ;;
        chunked | sse | negotiate) echo "$1" ;;
    esac
}

# Bounds for libFuzzer: an input (bytes), one run (seconds), memory (MiB).
max_len=1200
timeout=10
rss_limit_mb=2048
