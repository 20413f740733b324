#!/usr/bin/env bash
# Run the Autobahn suite against the three ways to drive a connection, and compare every case with
# expected.json; the cases about compression (12 and 13) with expected-deflate.json.
#
#   run.sh MOONWIRE AUTOBAHN_CLIENT [DRIVER…]
#
# Drivers: inline poll-thread blocking, for cases 1 to 10; with the suffix -deflate for 12 and 13,
# and with -deflate-short for a few of these. Without any: the first three and the last three. "all": each
# case with each, 517 of them three times, which takes half an hour.
# MOONWIRE is the command, AUTOBAHN_CLIENT the example of that name. The suite is installed
# into AUTOBAHN_HOME (default: autobahn in the target folder) if it is not there; logs and
# reports are written to its folder "out". Exit 1 if a case is not as expected.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 2 ] || { sed -n 2,13p "$0"; exit 2; }
moonwire=$(realpath -e -- "$1") && client=$(realpath -e -- "$2") || exit 2
shift 2
[ $# -gt 0 ] || set -- inline poll-thread blocking \
    inline-deflate-short poll-thread-deflate-short blocking-deflate-short
[ "$*" != all ] || set -- inline poll-thread blocking inline-deflate poll-thread-deflate blocking-deflate
# One of each kind: every series of 12, and every way to agree on parameters of 13.
short=12.1.1,12.1.11,12.2.2,12.3.3,12.4.4,12.5.5,13.1.1,13.2.2,13.3.3,13.4.4,13.5.5,13.6.6,13.7.7

home=$(realpath -m -- "${AUTOBAHN_HOME:-${CARGO_TARGET_DIR:-$here/../../target}/autobahn}")
if ! "$home/bin/wstest" --self-test >/dev/null 2>&1; then
    bash "$here/setup.sh" "$home" || exit 2
fi
mkdir -p "$home/out"
passed=0 failed=0

# fuzz OUT AGENT COMMAND…: one run of the suite; AUTOBAHN_CASES narrows it.
fuzz() {
    local out=$1 agent=$2
    shift 2
    # Those about compression send a thousand messages each.
    local which=(--exclude '12.*,13.*' --timeout 300)
    [[ $agent != *-deflate ]] || which=(--cases "${AUTOBAHN_CASES:-12.*,13.*}" --timeout 3000)
    [[ $agent != *-short ]] || which=(--cases "${AUTOBAHN_CASES:-$short}" --timeout 300)
    # A busy machine needs more than the suite's 1 s for a closing handshake.
    python3 "$here/abrun.py" client "$agent" --home "$home" --out "$out" "${which[@]}" \
        --options '{"closeHandshakeTimeout": 5}' \
        -- sh -c 'exec "$@" "$AUTOBAHN_URL" "$AUTOBAHN_AGENT"' sh "$@" >"$out.log" 2>&1
}

# drive AGENT COMMAND…: COMMAND gets the URL and the agent's name as its last arguments.
drive() {
    local agent=$1 out=$home/out/$1 start=$SECONDS note='' result rc expected=$here/expected.json
    local compare=(python3 "$here/compare.py")
    [[ $agent != *-deflate* ]] || expected=$here/expected-deflate.json
    [[ $agent != *-short ]] || compare+=(--cases "$short")
    rm -rf "$out" "$out-again" "$out-again.log"
    echo "$agent: running"
    unset AUTOBAHN_CASES
    fuzz "$out" "$@"
    rc=$?
    if ! result=$("${compare[@]}" --differing "$out.cases" "$expected" "$agent" "$out/reports") \
        && [ $rc != 2 ] && [ $rc != 4 ] && [ -s "$out.cases" ]; then
        # A busy machine can turn octet-wise cases NON-STRICT: what differs twice counts.
        echo "${result%$'\n'*}"
        note="; second run for $(cat "$out.cases")"
        echo "$agent: running once more: $(cat "$out.cases")"
        AUTOBAHN_CASES=$(cat "$out.cases") fuzz "$out-again" "$@"
        rc=$?
        result=$("${compare[@]}" "$expected" "$agent" "$out/reports" "$out-again/reports")
    fi
    [[ $result =~ ([0-9]+)\ as\ expected,\ ([0-9]+)\ not$ ]] || { echo "$agent: no comparison: $result"; exit 2; }
    local p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]}
    if [ $rc = 2 ]; then
        note="; the suite did not run"
    elif [ $rc = 4 ]; then
        f=$((f > 0 ? f : 1))
        note="$note; the client itself failed"
    fi
    if [ "$f" != 0 ]; then
        cat "$out.log"
        [ ! -e "$out-again.log" ] || cat "$out-again.log"
    fi
    [[ $result != *$'\n'* ]] || echo "${result%$'\n'*}"
    echo "$agent: $p as expected, $f not ($((SECONDS - start)) s$note)"
    passed=$((passed + p)) failed=$((failed + f))
}

for driver; do
    case $driver in
    inline) drive inline "$moonwire" run "$here/client.luau" ;;
    poll-thread) drive poll-thread "$moonwire" run --poll-thread "$here/client.luau" ;;
    blocking) drive blocking "$client" ;;
    inline-deflate | inline-deflate-short) drive "$driver" "$moonwire" run --compress "$here/client.luau" ;;
    poll-thread-deflate | poll-thread-deflate-short) drive "$driver" "$moonwire" run --compress --poll-thread "$here/client.luau" ;;
    blocking-deflate | blocking-deflate-short) drive "$driver" "$client" --compress ;;
    *) echo "no driver $driver" && exit 2 ;;
    esac
done
echo "autobahn: $passed passed, $failed failed"
[ "$failed" = 0 ]
