#!/usr/bin/env bash
# Make every certificate of tests/certs and src/peer/certs anew, with the openssl command (3.0 or
# later). See README.md for what each is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
loopback=$here/../../src/peer/certs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT       # with it go the keys of all three roots

from=20200101000000Z until=21000101000000Z

# what `openssl ca` wants to know; the extensions come from standard input
config() {
    printf '%s\n' '[ca]' 'default_ca = this' '[this]' "database = $work/index" "new_certs_dir = $work" \
        'rand_serial = yes' 'default_md = sha256' 'policy = any' 'unique_subject = no' \
        '[any]' 'commonName = supplied' '[extensions]'
    cat
}

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
    chmod 644 "$1" # public anyway
}

# sign CSR OUT FROM UNTIL CA-OPTIONS…, extensions from standard input
sign() {
    local csr=$1 out=$2 start=$3 end=$4
    shift 4
    : >"$work/index"
    config >"$work/config"
    openssl ca -batch -notext -config "$work/config" -extensions extensions \
        -in "$csr" -out "$out" -startdate "$start" -enddate "$end" "$@" 2>"$work/log" || {
        cat "$work/log" >&2
        return 1
    }
}

# request KEY NAME OUT
request() {
    openssl req -new -config /dev/null -key "$1" -subj "/CN=$2" -out "$3"
}

# root FILE NAME: FILE.pem and FILE.key, in the work folder
root() {
    key "$work/$1.key"
    request "$work/$1.key" "$2" "$work/csr"
    sign "$work/csr" "$work/$1.pem" "$from" "$until" -selfsign -keyfile "$work/$1.key" <<'X'
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
X
}

# leaf ROOT FILE SAN [FROM UNTIL]: FILE.pem and FILE.key; ROOT "self" signs with the leaf's own key
leaf() {
    local root=$1 file=$2 san=$3 start=${4:-$from} end=${5:-$until} by
    key "$file.key"
    request "$file.key" "$(basename "$file")" "$work/csr"
    if [ "$root" = self ]; then
        by=(-selfsign -keyfile "$file.key")
    else
        by=(-cert "$work/$root.pem" -keyfile "$work/$root.key")
    fi
    sign "$work/csr" "$file.pem" "$start" "$end" "${by[@]}" <<X
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $san
X
}

mkdir -p "$loopback"
localhost=DNS:localhost,IP:127.0.0.1,IP:::1

root test 'moonwire test root'
cp "$work/test.pem" "$here/ca.pem"
leaf test "$here/good" "$localhost"
leaf test "$here/echo" DNS:echo.websocket.org,DNS:echo.websocket.events
leaf test "$here/other" DNS:other.example
leaf test "$here/wildcard" 'DNS:*.example.test'
leaf test "$here/expired" DNS:localhost,IP:127.0.0.1 20000101000000Z 20010101000000Z
leaf test "$here/not-yet" "$localhost" 20900101000000Z "$until"
leaf self "$here/self-signed" "$localhost"

root unknown 'moonwire unknown root'
leaf unknown "$here/unknown-root" "$localhost"

root loopback 'moonwire loopback root'
cp "$work/loopback.pem" "$loopback/ca.pem"
leaf loopback "$loopback/loopback" "$localhost"

for file in "$here"/*.pem "$loopback"/*.pem; do
    openssl x509 -in "$file" -noout -subject -issuer -dates -ext subjectAltName 2>/dev/null
done
