# shellcheck shell=bash disable=SC2034
# What run.sh and build.sh know of the targets. Sourced in this folder, by bash.

targets() {
    sed -n 's/^name = "\([a-z_0-9]*\)"$/\1/p' Cargo.toml
}

# dictionary TARGET: the words of its input, for those whose input has words.
dictionary() {
    case $1 in
        head | handshake | stream | redirect | secrets | proxy | tunnelled | diff_head) echo head ;;
        frame | message | session | operations | diff_frame) echo frame ;;
        url | join | proxy_rules) echo url ;;
        chunked | sse | negotiate) echo "$1" ;;
    esac
}

# Bounds of libFuzzer: of an input (bytes), of one run (seconds), of memory (MiB).
max_len=1200
timeout=10
rss_limit_mb=2048
