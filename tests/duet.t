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
# The scripts find the checkout, and the user's data from where the user is.
mkdir -p checkout/experiments user/data checkout/packed
cp "$root"/experiments/*.sh checkout/experiments
printf '#!/bin/sh\necho "in $PWD: $*"\n' >stub
chmod +x stub
for file in train-images-idx3-ubyte t10k-images-idx3-ubyte; do : >user/data/$file; done
script() { # NAME STATUS PATTERN SCRIPT WORDS...
    name=$1 want=$2 pattern=$3
    shift 3
    (cd user && DUET=../stub sh ../checkout/experiments/"$@") >said 2>&1
    got=$?
    [ "$got" -eq "$want" ] && grep -q -e "$pattern" said
    report "$name" $?
}
script "a script from elsewhere" 0 "^in $PWD/checkout: finetune experiments/mnist-linear.json --out runs/mnist-linear" mnist-linear.sh data
says "with the data where the user said" " $PWD/user/data/train-images-idx3-ubyte$"
says "tells where it works" "^In $PWD/checkout$"
script "the demo from elsewhere" 0 "^in $PWD/checkout: pretrain experiments/emoji.json --out runs/emoji$" emoji.sh
says "suggests a run of its own" '--out runs/emoji-2 '
: >checkout/packed/cifar10-train.lmdb
: >checkout/packed/cifar10-test.lmdb
script "CIFAR-10 without data, though packed before" 1 '^/nowhere: there is no data_batch_1.bin; expected train.tar' cifar10.sh /nowhere
: >user/data/train.tar
script "CIFAR-10 with half of the data" 1 "^$PWD/user/data: there is no test.tar" cifar10.sh data
: >user/data/test.tar
script "CIFAR-10" 0 "^in $PWD/checkout: pretrain experiments/cifar10.json --out runs/cifar10 --quiet$" cifar10.sh data --quiet
script "no data at all" 2 '^usage: .*cifar10-gan.sh DATA_DIR' cifar10-gan.sh

# The tests' own folder.
(cd "$root" && TMPDIR=/nowhere sh tests/duet.t) >said 2>&1
says "tests that have no place say so" '^Bail out!  /nowhere: '
finish
