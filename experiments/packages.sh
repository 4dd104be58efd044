#!/bin/sh
# What Duet needs from the system. Usage: experiments/packages.sh check|install build|test|demo
#   check    lists what is missing, in one message, and fails if anything is
#   install  installs what is missing with apt (as root, or through sudo), and says what; elsewhere does as check
set -u
action=${1:-check}
stage=${2:-build}
missing_names= missing_packages=

# header NAME TEST-HEADERS PACKAGE...: missing unless the headers compile; the first package that apt knows would be installed
header()
{
    name=$1 headers=$2
    shift 2
    for h in $headers; do echo "#include <$h>"; done | ${CC:-cc} -E ${ONEDNN:+-I"$ONEDNN/include"} \
        $(pkg-config --cflags harfbuzz 2>/dev/null) - >/dev/null 2>&1 || miss "$name" "$@"
}

command_()
{
    name=$1
    shift
    command -v "$name" >/dev/null 2>&1 || miss "$name" "$@"
}

file()
{
    path=$1
    shift
    [ -e "$path" ] || miss "$path" "$@"
}

# miss NAME PACKAGE...: several packages are names of the same thing on different systems
miss()
{
    missing_names="$missing_names $1,"
    shift
    missing_packages="$missing_packages $(echo "$*" | tr ' ' '|')"
}

case ${CC:-cc} in *clang*) compiler=clang openmp=libomp-dev ;; *) compiler=gcc openmp=libgomp1 ;; esac
command_ "${CC:-cc}" $compiler
command_ pkg-config pkg-config
header "C library headers" stdlib.h libc6-dev
header OpenMP omp.h $openmp
header oneDNN oneapi/dnnl/dnnl.h libdnnl-dev libonednn-dev
header LMDB lmdb.h liblmdb-dev
header jansson jansson.h libjansson-dev
header libjpeg-turbo "stdio.h jpeglib.h" libjpeg-dev libjpeg-turbo8-dev
header libpng png.h libpng-dev
header HarfBuzz hb.h libharfbuzz-dev
header utf8proc utf8proc.h libutf8proc-dev
header zlib zlib.h zlib1g-dev
header libLBFGS lbfgs.h liblbfgs-dev
pkg-config --exists libpcre2-8 2>/dev/null || miss PCRE2 libpcre2-dev
if [ "$stage" = test ]; then
    command_ prove perl
fi
if [ "$stage" = demo ] || [ "$stage" = test ]; then
    file /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf fonts-noto-color-emoji
    file /usr/share/unicode/emoji/emoji-test.txt unicode-data
fi

[ -n "$missing_names" ] || exit 0
list=$(echo "$missing_names" | sed 's/^ //; s/,$//')
if [ "$action" = check ]; then
    echo "Duet needs what is missing here: $list" >&2
    echo "On Debian or Ubuntu 'make check' or 'make demo' installs it; elsewhere install it with its headers." >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "This system has no apt. Please install, with headers: $list" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    echo "Missing: $list. Installing needs root or sudo; neither is there." >&2
    exit 1
fi
$as_root apt-get update -q >/dev/null 2>&1 || echo "apt-get update failed; going on with the lists that are there" >&2
packages=
for names in $missing_packages; do
    chosen=${names%%|*}
    for name in $(echo "$names" | tr '|' ' '); do
        if apt-cache show "$name" >/dev/null 2>&1; then
            chosen=$name
            break
        fi
    done
    packages="$packages $chosen"
done
echo "Installing$packages (for $list)"
log=$(mktemp) || exit 1
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >"$log" 2>&1
status=$?
[ $status = 0 ] || tail -n 5 "$log" >&2
rm -f "$log"
exit $status
