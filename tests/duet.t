#!/bin/sh
# The program itself: help, version, and what it says to mistakes.
. tests/cli.sh

run "help" 0 "^usage: duet COMMAND" --help
run "help by word" 0 "^usage: duet COMMAND" help
run "version" 0 "^duet [0-9]" --version
run "no command" 2 "no command; see duet --help"
run "an unknown command" 2 "unknown command 'zzzzzzzz'" zzzzzzzz
run "an unknown option" 2 "unknown option '--hepl'" --hepl
for command in $("$duet" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    run "duet $command --help" 0 "^usage: duet $command" "$command" --help
    run "duet $command with an unknown option" 2 "duet $command: unknown option --no-such-option" \
        "$command" --no-such-option
done

# An option that several commands have means the same in all of them.
for command in $("$duet" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    "$duet" "$command" --help
done | perl -ne 'if (/^ +(-\w, )?(--[\w-]+)( .*)?$/) { print "\n$2", $3 // "" } elsif (/^ +(\S.*)/) { print " $1" } else { print "\n" }' |
    perl -pe 's/  +/ /g' >options.txt
for option in device precision quiet restart threads templates query queries; do
    grep -e "^--$option " options.txt | sort | uniq -c >said
    [ "$(wc -l <said)" -eq 1 ] && [ "$(sed 's/^ *//; s/ .*//' said)" -ge 2 ]
    report "--$option is explained in the same words everywhere" $?
done
finish
