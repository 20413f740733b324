#!/usr/bin/env bash
# setup.sh DIR: puts into DIR all tools for building and testing for other targets. It may be run again and keeps
# what is there. Outside DIR nothing changes. Status 1: something is not available, and a line names it.
#
#   DIR/bin        cargo-cross, wine-run, qemu-run
#   DIR/rust-src   Debian's source of the standard library, of exactly the toolchain's version
#   DIR/mingw      Debian's GCC for Windows       DIR/arm   Debian's GCC and C library for aarch64, qemu-user
#   DIR/wine       Debian's Wine                  DIR/prefix   its C: drive
#   DIR/ready      written last: the version that this was made for
#
# CROSS_PARTS="std windows arm" names the parts; without it all are installed. std is always needed.
set -euo pipefail

parts=" ${CROSS_PARTS:-std windows arm} "

die() { echo "setup.sh: $*" >&2; exit 1; }
say() { echo "setup.sh: $*"; }
wants() { case $parts in *" $1 "*) ;; *) return 1 ;; esac; }

[ $# -eq 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for tool in rustc cargo apt-get apt-cache dpkg-deb tar awk python3; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "made for an amd64 machine only"
mkdir -p "$1"
kit=$(cd "$1" && pwd)
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
rust_version=$(rustc -vV | sed -n 's/^release: //p')
# A kit for this toolchain stays usable while parts are added.
[ -e "$kit/ready" ] && [ "$(cat "$kit/ready")" != "rust_version=$rust_version" ] && rm -f "$kit/ready"

# --- apt with a state of its own -----------------------------------------------------------------
# It uses the machine's sources; for another suite, with the name of the suite replaced.
apt=$kit/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts" "$apt/debs"
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$codename" ] || die "/etc/os-release has no VERSION_CODENAME: not a Debian machine?"
cat >"$apt/conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/parts";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$apt/conf

sources() { # SUITE: the machine's entries for its own release, for SUITE
    local suite=$1 file n=0
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        n=$((n + 1))
        awk -v own="$codename" -v suite="$suite" '
            BEGIN { RS = ""; FS = "\n" }
            {
                deb = 0; mine = 0; text = ""
                for (i = 1; i <= NF; i++) {
                    line = $i
                    if (line ~ /^#/) continue
                    if (line ~ /^Types:/ && line ~ /[ \t]deb([ \t]|$)/) deb = 1
                    if (line ~ /^Enabled:[ \t]*no/) deb = 0
                    if (line ~ "^Suites:.*[ \t]" own "([ \t]|$)") mine = 1
                    if (line ~ /^Suites:/) line = "Suites: " suite
                    if (line ~ /^Types:/) line = "Types: deb"
                    text = text line "\n"
                }
                if (deb && mine) printf "%s\n", text
            }' "$file" >"$apt/parts/$suite-$n.sources"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        awk -v own="$codename" -v suite="$suite" '
            $1 == "deb" { for (i = 2; i <= NF; i++) if ($i == own) { $i = suite; print; break } }' "$file"
    done >"$apt/parts/$suite.list"
    find "$apt/parts" -empty -delete
}

update() { apt-get -qq update || say "apt-get update: some lists could not be read"; }

unpack() { # FOLDER PACKAGE...: unpacks Debian packages, NAME or NAME=VERSION
    local into=$kit/$1 stamp package file
    shift
    mkdir -p "$into/.done"
    for package in "$@"; do
        stamp=$into/.done/${package//[^A-Za-z0-9+.-]/_}
        [ -e "$stamp" ] && continue
        [ -n "${updated:-}" ] || { sources "$codename"; update; updated=1; }
        rm -rf "$apt/debs" && mkdir "$apt/debs"
        (cd "$apt/debs" && apt-get -qq download "$package") || die "Debian package $package cannot be had"
        file=$(echo "$apt"/debs/*.deb)
        # Without the 32-bit Windows part of Wine, and without documentation.
        dpkg-deb --fsys-tarfile "$file" | tar -x -C "$into" --no-same-owner --exclude='./usr/share/doc' \
            --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='*/i386-windows' \
            --exclude='./usr/i686-w64-mingw32' || die "$package cannot be unpacked"
        rm -f "$file"
        touch "$stamp"
    done
}

# --- the standard library's source ---------------------------------------------------------------
library=$kit/rust-src/usr/src/rustc-$rust_version/library
if [ ! -e "$kit/rust-src/.done/$rust_version" ]; then
    found= seen=
    for suite in "$codename" trixie-backports trixie forky sid bookworm-backports; do
        sources "$suite"
        update
        found=$(apt-cache madison rust-src | awk -v v="$rust_version" 'index($3, v "+") == 1 { print $3; exit }')
        [ -n "$found" ] && break
        seen=$(apt-cache madison rust-src | awk '{ print $3 }' | cat - <(printf '%s\n' $seen) | sort -uV)
        [ "$suite" = "$codename" ] || rm -f "$apt/parts/$suite"*
    done
    [ -n "$found" ] || die "no suite of Debian has rust-src $rust_version, the toolchain's version (they have:" \
        "$(echo $seen)): use a toolchain that one of them has"
    updated=1
    say "rust-src $found"
    rm -rf "$kit/rust-src"
    unpack rust-src "rust-src=$found"
    [ -e "$library/std/Cargo.toml" ] || die "rust-src $found has no library/std where it was expected"
    touch "$kit/rust-src/.done/$rust_version"
fi

mkdir -p "$kit/bin"
for file in cargo-cross fake-cc wine-run qemu-run; do
    [ "$here" = "$kit/bin" ] || install -m 755 "$here/$file" "$kit/bin/$file"
done

# --- Windows -------------------------------------------------------------------------------------
if wants windows; then
    unpack mingw binutils-mingw-w64-x86-64 mingw-w64-common mingw-w64-x86-64-dev gcc-mingw-w64-base \
        gcc-mingw-w64-x86-64-posix-runtime gcc-mingw-w64-x86-64-posix g++-mingw-w64-x86-64-posix
    unpack wine wine64 libwine libz-mingw-w64 libunwind8
    gcc=$kit/mingw/usr/bin/x86_64-w64-mingw32-gcc-posix
    "$gcc" --version >/dev/null || die "Debian's mingw GCC does not start (a shared library is missing?)"
    # Debian's script looks for files outside DIR.
    ln -sf wineserver64 "$kit/wine/usr/lib/wine/wineserver"
    # wine-run puts these into a prefix: Wine's zlib; the library from which Rust's std gets random bytes,
    # which Wine 8 lacks; and GCC's libraries, for programs with C++ (Luau).
    mkdir -p "$kit/wine/extra"
    cp "$kit/wine/usr/x86_64-w64-mingw32/lib/zlib1.dll" "$kit/wine/extra/"
    find "$kit/mingw/usr" \( -name 'libstdc++-6.dll' -o -name 'libgcc_s_seh-1.dll' -o -name 'libwinpthread-1.dll' \) \
        -exec cp {} "$kit/wine/extra/" \;
    if [ ! -e "$kit/wine/extra/bcryptprimitives.dll" ]; then
        PATH=$kit/mingw/usr/bin:$PATH "$gcc" -O2 -s -shared -o "$kit/wine/extra/bcryptprimitives.dll" \
            "$here/prng.c" -ladvapi32 || die "bcryptprimitives.dll cannot be built"
    fi
    CROSS_DIR=$kit WINEPREFIX=$kit/prefix "$kit/bin/wine-run" cmd /c "exit 3" >/dev/null 2>&1 && code=0 || code=$?
    [ "$code" = 3 ] || die "Wine does not run: cmd /c 'exit 3' gave $code"
fi

# --- aarch64 Linux -------------------------------------------------------------------------------
if wants arm; then
    unpack arm qemu-user-static libc6-arm64-cross libc6-dev-arm64-cross linux-libc-dev-arm64-cross \
        binutils-aarch64-linux-gnu cpp-12-aarch64-linux-gnu gcc-12-aarch64-linux-gnu gcc-12-cross-base \
        libgcc-s1-arm64-cross libgcc-12-dev-arm64-cross g++-12-aarch64-linux-gnu libstdc++6-arm64-cross \
        libstdc++-12-dev-arm64-cross
    # These scripts of the linker name files by their place in an installed system.
    sed -i 's#/usr/aarch64-linux-gnu/lib/##g' "$kit"/arm/usr/aarch64-linux-gnu/lib/lib{c,m}.so 2>/dev/null || true
    LD_LIBRARY_PATH=$kit/arm/usr/lib/x86_64-linux-gnu "$kit/arm/usr/bin/aarch64-linux-gnu-gcc-12" --version >/dev/null ||
        die "Debian's GCC for aarch64 does not start"
fi

rm -rf "$apt/debs" "$apt/cache"
echo "rust_version=$rust_version" >"$kit/ready"
say "ready: $kit/bin/cargo-cross TARGET SUBCOMMAND ..."
