#!/bin/sh
# duet tokenizer: trains on four lines, encodes, decodes, and says what is wrong.
duet="${BUILD:-build/release}/duet"
dir=$(mktemp -d "${TMPDIR:-/tmp}/duet-test-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
n=0

# check NAME STATUS PATTERN WORDS...: runs duet tokenizer; PATTERN (a grep one) is sought in all it prints.
check() {
    name=$1 want=$2 pattern=$3
    shift 3
    n=$((n + 1))
    said=$("$duet" tokenizer "$@" 2>&1)
    got=$?
    if [ "$got" -eq "$want" ] && printf '%s\n' "$said" | grep -q -e "$pattern"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        printf '%s\n' "$said" | sed "s/^/# status $got: /"
    fi
}

printf 'low low low low low\nlower lower\n' >"$dir/a.txt"
printf 'newest newest newest newest newest newest\r\nwidest widest widest' >"$dir/b.txt"
printf 'fine\nbad \377\n' >"$dir/bad.txt"

check "trains" 0 "521 tokens, fingerprint 1bd0aa63dae5c9ed" \
    train --merges 7 --out "$dir/t.json" "$dir/a.txt" "$dir/b.txt"
check "encodes" 0 "^514 86 513$" encode --tokenizer "$dir/t.json" "LOWEST"
check "a context" 0 "^519 518 518 520 0 0$" encode --tokenizer "$dir/t.json" --context 6 "low  low"
check "no text, no ids" 0 "^$" encode --tokenizer "$dir/t.json" ""
check "a line each" 0 "^518$" encode --tokenizer "$dir/t.json" low newest
check "decodes" 0 "^lowest newest $" decode --tokenizer "$dir/t.json" "514 86 513 517"
n=$((n + 1))
back=$(printf 'Low\nnewest  lower\n\n' | "$duet" tokenizer encode --tokenizer "$dir/t.json" |
    "$duet" tokenizer decode --tokenizer "$dir/t.json" | tr '\n' '|')
[ "$back" = "low |newest lower ||" ] && echo "ok $n - there and back" ||
    echo "not ok $n - there and back: $back"
n=$((n + 1))
cat "$dir/b.txt" "$dir/a.txt" | "$duet" tokenizer train --merges 7 --out "$dir/u.json" - 2>/dev/null &&
    cmp -s "$dir/t.json" "$dir/u.json" && echo "ok $n - another order, the same file" ||
    echo "not ok $n - another order, the same file"

check "no action" 2 "duet tokenizer: "
check "an unknown action" 2 "unknown action 'trian'; did you mean train?" trian
check "help of an action" 0 "^usage: duet tokenizer encode" encode --help
check "no file" 2 "duet tokenizer train: " train --out "$dir/x.json"
check "a file that is not there" 1 "cannot open $dir/none" train --out "$dir/x.json" "$dir/none"
check "a file that is not UTF-8" 1 "bad.txt:2: the text is not UTF-8 at byte 4 (0xff)" \
    train --out "$dir/x.json" "$dir/bad.txt"
check "a store that is none" 1 "duet tokenizer train: .*$dir" train --out "$dir/x.json" "$dir"
check "not a tokenizer" 1 "a.txt:2: token .lower. is neither" encode --tokenizer "$dir/a.txt" x
check "ids that are none" 1 "expected ids, found ' x'" decode --tokenizer "$dir/t.json" "3 x"
check "an id without a token" 1 "id 521 at place 0 has no token" decode --tokenizer "$dir/t.json" 521
check "cannot write" 1 "duet tokenizer train: cannot" train --out /nonexistent/t.json "$dir/a.txt"
n=$((n + 1))
[ -e "$dir/x.json" ] && echo "not ok $n - a failure leaves no file" || echo "ok $n - a failure leaves no file"
echo "1..$n"
