# For the tests of the command line, which say `. tests/cli.sh` and then stand in an empty folder of their own.
#   $duet, $root          the program and the checkout, as absolute paths
#   report NAME STATUS    one line of TAP; where STATUS is not 0 with what the last command said
#   run NAME STATUS PATTERN WORDS...   runs duet; PATTERN (a grep one) is sought in all that it prints, kept in ./said
#   skip NAME WHY         a case that cannot run here
#   finish                the plan; last
root=$PWD
duet="${BUILD:-build/release}/duet"
case $duet in /*) ;; *) duet=$PWD/$duet ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/duet-test-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0

report() {
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        sed 's/^/# /' said
    fi
}

run() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$duet" "$@" >said 2>&1
    got=$?
    [ "$got" -eq "$want" ] && grep -q -e "$pattern" said
    report "$name" $?
}

skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

finish() {
    echo "1..$n"
}
