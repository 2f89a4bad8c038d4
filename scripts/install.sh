#!/bin/sh
# Installs exuvia for the first time: fetches the archive and its signature, checks the signature
# against keys that you have already, and only then unpacks anything.
#
# Nothing that was fetched is believed, run or unpacked before its signature holds for exactly this
# product, version and target. Whatever goes wrong, nothing is installed.
set -eu
umask 077
LC_ALL=C
export LC_ALL

usage() {
    cat <<'TEXT'
usage: install.sh --version X.Y.Z --from FOLDER|URL [options]

  --version X.Y.Z      the version to install
  --from FOLDER|URL    where releases lie: VERSION/exuvia-TARGET.tar.zst (or .tar.gz) and its .sig below it
  --key FILE           a public release key to accept; may be repeated
                       [default: keys/release/*.pem beside this script, or beside its folder]
  --target TRIPLE      the exact target [default: this machine's]
  --prefix FOLDER      install as FOLDER/bin/exuvia [default: /opt/exuvia]
  --owner USER         who will run the node, and owns FOLDER/bin [default: whoever runs this]
  --checker FILE       an exuvia-keygen or exuvia that you trust already: checks the signature where there
                       is no OpenSSL 3.5 (an exuvia checks with the keys that it pins, and takes no --key)
  --upgrade-in-place   replace a program that is installed already. Running nodes upgrade themselves, with a
                       trial and a way back; this has neither. Meant for a node that can no longer do it
  --help               this text

environment: OPENSSL names the openssl to use.
exit codes: 0 installed   2 usage   4 the signature does not hold   6 not fetched   9 not installed   1 unexpected
TEXT
}
say() { printf '%s\n' "$*"; }
refuse() { code=$1; shift; printf 'install.sh: %s Nothing was installed.\n' "$*" >&2; exit "$code"; }

version='' from='' target='' prefix=/opt/exuvia owner='' checker='' in_place='' keys=''
line='
'
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --upgrade-in-place) in_place=1; shift; continue ;;
        --version | --from | --key | --target | --prefix | --owner | --checker)
            [ $# -ge 2 ] || refuse 2 "$1 needs a value; see --help." ;;
        *) refuse 2 "'$1' is no option; see --help." ;;
    esac
    case $1 in
        --version) version=$2 ;;
        --from) from=$2 ;;
        --key) keys=$keys$2$line ;;
        --target) target=$2 ;;
        --prefix) prefix=$2 ;;
        --owner) owner=$2 ;;
        --checker) checker=$2 ;;
    esac
    shift 2
done
[ -n "$version" ] || refuse 2 "--version is missing: a signature holds for one version only."
[ -n "$from" ] || refuse 2 "--from is missing: the folder or address where releases lie."
# Both become part of a path and of the signature's context: nothing but their own alphabet.
case $version in
    *[!0-9A-Za-z.-]* | [!0-9]* | *[!0-9A-Za-z] | *..*) refuse 2 "'$version' is no version such as 1.4.0." ;;
esac
case $prefix in
    /*) ;;
    *) refuse 2 "--prefix must be an absolute path, and '$prefix' is none." ;;
esac

if [ -z "$target" ]; then
    [ "$(uname -s)" = Linux ] || refuse 2 "this machine does not run Linux, for which exuvia is built."
    if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then libc=gnu; else libc=musl; fi
    case $(uname -m) in
        x86_64 | aarch64) target=$(uname -m)-unknown-linux-$libc ;;
        *) refuse 2 "cannot tell the target of a $(uname -m); name it with --target." ;;
    esac
fi
case $target in
    *[!0-9a-z_.-]* | .* | '') refuse 2 "'$target' is no target such as x86_64-unknown-linux-gnu." ;;
esac

program=$prefix/bin/exuvia
if [ -e "$program" ] || [ -L "$program" ]; then
    [ -n "$in_place" ] || refuse 9 "$program is installed already. A node upgrades itself, after it has tried the new version and with a way back: run 'exuvia upgrade --version $version'. Where that is no longer possible, --upgrade-in-place replaces the file without a trial."
    [ -f "$program" ] && [ ! -L "$program" ] || refuse 9 "$program is not a regular file; move it away first."
fi

# Keys come from where this script came from, or from you; never from where the archive comes from.
if [ -z "$keys" ]; then
    beside=$(dirname "$0")
    for folder in "$beside/keys/release" "$beside/../keys/release"; do
        for key in "$folder"/*.pem; do
            [ -f "$key" ] && keys=$keys$key$line
        done
        [ -z "$keys" ] || break
    done
    named=''
else
    named=1
fi

openssl=''
knows_ml_dsa() { # PROGRAM: whether it is OpenSSL 3.5 or newer
    text=$("$1" version 2>/dev/null) || return 1
    case $text in
        'OpenSSL '[0-9]*.[0-9]*) ;;
        *) return 1 ;;
    esac
    number=${text#OpenSSL }
    major=${number%%.*}
    minor=${number#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -ge 5 ]; }
}
kind=''
if [ -n "$checker" ]; then
    [ -x "$checker" ] && [ -f "$checker" ] || refuse 2 "the checker $checker is no program."
    if "$checker" verify --help 2>/dev/null | grep -q -e '--key'; then
        kind=keygen
    elif "$checker" verify --help 2>/dev/null | grep -q -e '--target'; then
        kind=node
        [ -z "$named" ] || refuse 2 "$checker checks with the keys that it pins; leave --key out, or use exuvia-keygen."
    else
        refuse 2 "$checker is neither exuvia-keygen nor exuvia."
    fi
elif knows_ml_dsa "${OPENSSL:-openssl}"; then
    openssl=${OPENSSL:-openssl}
    kind=openssl
else
    refuse 4 "cannot check signatures: there is no OpenSSL 3.5 or newer (ML-DSA-65). Install one, name it with OPENSSL=..., or name an exuvia-keygen or exuvia that you trust already with --checker."
fi
[ "$kind" = node ] || [ -n "$keys" ] || refuse 2 "there is no public release key beside this script; name at least one with --key."

work=$(mktemp -d)
new=''
trap 'rm -rf "$work"; [ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM

fetch() { # NAME: into the private folder, from wherever it lies
    case $from in
        https://* | http://127.0.0.1[:/]* | http://localhost[:/]*)
            for place in "$version" "v$version"; do
                if command -v curl >/dev/null; then
                    curl --fail --silent --location --proto '=https,http' --proto-redir '=https' --max-time 900 \
                        --max-filesize 1073741824 --output "$work/$1" "${from%/}/$place/$1" && return 0
                elif command -v wget >/dev/null; then
                    wget --quiet --timeout=60 --output-document="$work/$1" "${from%/}/$place/$1" && return 0
                else
                    refuse 6 "fetching needs curl or wget."
                fi
                rm -f "$work/$1"
            done ;;
        http://*) refuse 6 "$from is plain http; use https." ;;
        *)
            for place in "$from/$version/$1" "$from/$1"; do
                if [ -f "$place" ]; then
                    cp -- "$place" "$work/$1" && return 0
                fi
            done ;;
    esac
    return 1
}

endings=.tar.gz
if command -v zstd >/dev/null; then endings=".tar.zst .tar.gz"; fi
archive=''
for ending in $endings; do
    name=exuvia-$target$ending
    if fetch "$name"; then archive=$name; break; fi
done
[ -n "$archive" ] || refuse 6 "there is no exuvia-$target of version $version at $from (looked for:$(printf ' %s' $endings)$(command -v zstd >/dev/null || printf '; .tar.zst needs zstd'))."
fetch "$archive.sig" || refuse 6 "$from has $archive without its signature ($archive.sig)."

# From here on only the private copies are read: what is checked is what is unpacked.
length=$(wc -c <"$work/$archive.sig" | tr -d ' ')
[ "$length" -eq 3309 ] || refuse 4 "$archive.sig is no ML-DSA-65 signature: it has $length bytes instead of 3309."
context=exuvia/v1/archive/exuvia/$version/$target
good=''
case $kind in
    node)
        if "$checker" verify "$work/$archive" --version "$version" --target "$target" >"$work/said" 2>&1; then
            good="the keys that $checker pins"
        fi ;;
    *)
        while IFS= read -r key; do
            [ -n "$key" ] || continue
            [ -f "$key" ] || refuse 2 "there is no key $key."
            if [ "$kind" = openssl ]; then
                "$openssl" pkeyutl -verify -rawin -pubin -inkey "$key" -in "$work/$archive" \
                    -sigfile "$work/$archive.sig" -pkeyopt "context-string:$context" >"$work/said" 2>&1 || continue
            else
                "$checker" verify --key "$key" --product exuvia --version "$version" --target "$target" \
                    "$work/$archive" >"$work/said" 2>&1 || continue
            fi
            good=$key
            break
        done <<KEYS
$keys
KEYS
        ;;
esac
if [ -z "$good" ]; then
    tail -n 2 "$work/said" >&2 || true
    refuse 4 "the signature of $archive was not made by a trusted release key for exuvia $version on $target. Either it was tampered with, or it is another release under this name, or these are not its keys."
fi
say "The signature holds: exuvia $version for $target, by $good"

# One regular file of the expected name, read to a stream: no path, link or mode of the archive counts.
case $archive in
    *.zst) unpack() { zstd --decompress --stdout --quiet "$work/$archive"; } ;;
    *) unpack() { gzip -dc "$work/$archive"; } ;;
esac
unpack >"$work/tar" || refuse 4 "$archive cannot be decompressed."
members=$(tar -tf "$work/tar") && listed=$(tar -tvf "$work/tar") || refuse 4 "$archive holds no tar."
case $members:$listed in
    exuvia:-*) ;;
    *) refuse 4 "$archive does not hold exactly one regular file named exuvia, as every release does." ;;
esac
tar -xOf "$work/tar" exuvia >"$work/exuvia" || refuse 4 "$archive cannot be unpacked."
[ -s "$work/exuvia" ] || refuse 4 "$archive holds an empty program."

made=''
undo() { [ -z "$made" ] || rmdir "$prefix/bin" "$prefix" 2>/dev/null || true; }
stop() { [ -z "$new" ] || rm -f "$new"; new=''; undo; refuse "$@"; }
if [ ! -d "$prefix/bin" ]; then
    made=1
    # Others may enter and read: the program is no secret. Nobody but its owner may write.
    (umask 022 && mkdir -p "$prefix/bin") 2>"$work/said" || stop 9 "cannot make $prefix/bin: $(cat "$work/said")."
fi
[ ! -L "$prefix/bin" ] || stop 9 "$prefix/bin is a link; a node needs the folder itself."
if [ -n "$(find "$prefix/bin" -prune -perm /022)" ]; then
    stop 9 "others may write to $prefix/bin, and so could replace the program; run: chmod go-w $prefix/bin."
fi
new=$(mktemp "$prefix/bin/.exuvia.new.XXXXXX") || stop 9 "cannot write to $prefix/bin."
cat "$work/exuvia" >"$new" || stop 9 "cannot write to $prefix/bin."
chmod 755 "$new"
if [ -n "$owner" ]; then
    chown "$owner" "$new" "$prefix/bin" 2>"$work/said" || stop 9 "cannot give $prefix/bin to $owner: $(cat "$work/said")."
fi
sync "$new" 2>/dev/null || sync
if [ -n "$in_place" ] && [ -e "$program" ]; then
    mv -f "$new" "$program" || stop 9 "cannot replace $program."
    say "Replaced $program without a trial. Restart its nodes: each adopts what is installed."
else
    # A link, and not a rename: it never replaces what somebody installed meanwhile.
    ln "$new" "$program" 2>"$work/said" || stop 9 "cannot install $program: $(cat "$work/said")."
    rm -f "$new"
fi
new=''
say "Installed $program ($version)."
say
say "Next:"
say "  1. Say where releases come from, in /etc/exuvia/exuvia.toml:"
say "       [source]"
say "       listing = \"https://releases.example/releases.json\""
say "  2. Have your service manager run '$program run' as ${owner:-$(id -un)}, who owns $prefix/bin."
say "  3. Look: $program status"
