#!/bin/sh
# The program itself: help, version, and what it says to mistakes.
duet="${BUILD:-build/release}/duet"
n=0

# check NAME STATUS PATTERN WORDS...: runs duet with the words; PATTERN (a grep one) is sought in all it prints.
check() {
    name=$1 want=$2 pattern=$3
    shift 3
    n=$((n + 1))
    said=$("$duet" "$@" 2>&1)
    got=$?
    if [ "$got" -eq "$want" ] && printf '%s\n' "$said" | grep -q -e "$pattern"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        printf '%s\n' "$said" | sed "s/^/# status $got: /"
    fi
}

check "help" 0 "^usage: duet COMMAND" --help
check "help by word" 0 "^usage: duet COMMAND" help
check "version" 0 "^duet [0-9]" --version
check "no command" 2 "no command; see duet --help"
check "an unknown command" 2 "unknown command 'zzzzzzzz'" zzzzzzzz
check "an unknown option" 2 "unknown option '--hepl'" --hepl
for command in $("$duet" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    check "duet $command --help" 0 "^usage: duet $command" "$command" --help
    check "duet $command with an unknown option" 2 "duet $command: unknown option --no-such-option" \
        "$command" --no-such-option
done
echo "1..$n"
