#!/bin/sh
# venv.sh FOLDER: a virtual environment with what requirements.txt names; nothing is done where it is there already.
here=$(dirname "$0")
fail() {
    echo "make parity: $1" >&2
    exit 1
}

cmp -s "$here/requirements.txt" "$1/requirements.txt" && exit 0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "needs Python 3.11 or later as python3; PARITY_PYTHON=PROGRAM takes another one, with the packages of $here/requirements.txt"
python3 -m venv "$1" >"$1.log" 2>&1 || fail "python3 -m venv failed (on Debian and Ubuntu it needs the package python3-venv); see $1.log"
echo "  PIP  $1 (a few gigabytes, once)"
"$1/bin/python" -m pip install --quiet -r "$here/requirements.txt" >>"$1.log" 2>&1 ||
    fail "the packages of $here/requirements.txt could not be installed; is the network there? See $1.log"
cp "$here/requirements.txt" "$1/requirements.txt"
