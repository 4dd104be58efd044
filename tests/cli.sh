# For the tests of the command line, which say `. tests/cli.sh` and then stand in an empty folder of their own.
#   $duet, $root          the program and the checkout, as absolute paths
#   report NAME STATUS    one line of TAP; where STATUS is not 0 with what the last command said
#   run NAME STATUS PATTERN WORDS...   runs duet; PATTERN (a grep one) is sought in all that it prints, kept in ./said
#   says NAME PATTERN, lacks NAME PATTERN   what the last command printed has it, or has it not
#   await FILE            waits until it holds something, for 20 seconds at most
#   skip NAME WHY         a case that cannot run here
#   finish                the plan; last
root=$PWD
duet="${BUILD:-build/release}/duet"
case $duet in /*) ;; *) duet=$PWD/$duet ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/duet-test-XXXXXX" 2>/dev/null)
if [ ! -d "$work" ]; then
    echo "Bail out!  ${TMPDIR:-/tmp}: no folder can be made there for the tests; set TMPDIR to where one can"
    exit 1
fi
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

says() {
    grep -q -e "$2" said
    report "$1" $?
}

lacks() {
    ! grep -q -e "$2" said
    report "$1" $?
}

await() {
    for try in $(seq 400); do
        [ ! -s "$1" ] || return 0
        sleep 0.05
    done
}

# kill_at_checkpoints FOLDER COUNT WORDS...   runs duet with WORDS, which train in FOLDER, and kills it each time a new checkpoint is there,
# COUNT times; $kills: how often that came about, $resumed: how often it had gone on from a checkpoint.
kill_at_checkpoints() {
    folder=$1 tries=$2 kills=0 resumed=0
    shift 2
    for try in $(seq "$tries"); do
        "$duet" "$@" >killed.said 2>&1 &
        child=$!
        perl -e 'my ($child, $folder) = @ARGV; my $old = join " ", glob("$folder/checkpoints/*.safetensors");
                 for (1 .. 400_000) { last if join(" ", glob("$folder/checkpoints/*.safetensors")) ne $old || !kill 0, $child }
                 kill "KILL", $child' "$child" "$folder"
        wait $child 2>/dev/null
        [ $? -eq 137 ] && kills=$((kills + 1))
        grep -q "resumes after step" killed.said && resumed=$((resumed + 1))
    done
}

# What a log says of each step, without times.
steps_of() {
    grep '"loss"' "$1" | sed 's/"pairs_per_second": [^,]*, "waiting": [^,]*, //'
}

skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

finish() {
    echo "1..$n"
}
