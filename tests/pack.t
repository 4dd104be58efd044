#!/bin/sh
# duet pack on the command line: what it packs, prints, leaves out, and never breaks.
. tests/cli.sh

check() { # NAME STATUS PATTERN WORDS...: run, of duet pack
    name=$1 want=$2 pattern=$3
    shift 3
    run "$name" "$want" "$pattern" pack "$@"
}

# CIFAR-10 records, one of each of three labels: the pictures from which all others here are made.
for label in 0 3 9; do
    printf '%b' "\\0$(printf %o "$label")"
    head -c 3072 /dev/zero | tr '\0' "\\$(printf %o $((label * 20 + 40)))"
done >ten.bin
check "packs" 0 "^a.lmdb: 3 pairs, 3 captions, 10 classes, .* 0 left out" -o a.lmdb ten.bin
check "lists a store" 0 '"count": 3' --list a.lmdb
check "shows a pair" 0 'a photo of a cat\.' --show 1 a.lmdb
check "no pair beyond the last" 1 'pair 3 asked for, but there are only 3' --show 3 a.lmdb
mkdir -p data/cat data/truck
"$duet" pack --show 1 --jpeg data/cat/1.jpg a.lmdb && "$duet" pack --show 2 --jpeg - a.lmdb >data/truck/2.jpg
[ "$(head -c 2 data/cat/1.jpg | od -An -tx1)" = " ff d8" ] && [ -s data/truck/2.jpg ]
report "extracts JPEG files" $?
base64 -d >data/truck/dot.png <<END
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
END

check "packs a folder" 0 "^b.lmdb: 3 pairs, 6 captions, 2 classes" -o b.lmdb -t "a {}" -t "one {}" data
"$duet" pack --show 0 --jpeg - b.lmdb | cmp -s - data/cat/1.jpg
report "JPEG bytes go in untouched" $?
check "a PNG becomes a JPEG" 0 '"jpeg_bytes": ' --show 2 b.lmdb
check "packs without loss" 0 "^l.lmdb: 3 pairs" --lossless -o l.lmdb data
check "or stays a PNG" 0 '"png_bytes": ' --show 2 l.lmdb
"$duet" pack --show 0 --jpeg - l.lmdb | cmp -s - data/cat/1.jpg
report "a JPEG beside it stays untouched" $?
check "which the store tells" 0 '"lossless": 1,' --list l.lmdb
check "and several stores together" 0 '"lossless": 2,' --list b.lmdb l.lmdb l.lmdb
check "no sampling of chroma without JPEG" 2 "halve-chroma" --lossless --halve-chroma -o m.lmdb data
check "several stores are one" 0 '"count": 6' --list a.lmdb b.lmdb
check "a pattern of stores" 0 '"count": 6' --list '[ab].lmdb'

head -c 200 data/cat/1.jpg >data/cat/torn.jpg
: >data/cat/void.jpg
check "leaves out what is torn" 0 "^left out: data/cat/torn.jpg: .*" -o c.lmdb data
grep -q "void.jpg: .*empty" said && grep -q "3 pairs.*2 left out" said
report "and counts it" $?
check "strict stops at it" 1 "^duet pack: data/cat/torn.jpg: " --strict -o d.lmdb data
[ ! -e d.lmdb ] && [ ! -e d.lmdb.tmp ]
report "and leaves no store" $?
check "a limit" 0 "^d.lmdb: 1 pairs" --limit 1 -o d.lmdb data

cp a.lmdb old
check "an existing store is kept" 1 "a.lmdb exists" -o a.lmdb data
cmp -s a.lmdb old
report "as it was" $?
check "unless it is to be replaced" 0 "3 pairs" --replace -o a.lmdb data
check "no folder as a store" 1 "is a directory" -o data ten.bin

printf 'path,caption\ndata/cat/1.jpg,"a cat, black"\ndata/truck/2.jpg,"never closed\ndata/none.jpg,x\n' >t.csv
check "a table" 0 "^t.lmdb: 1 pairs, 1 captions, 0 classes.* 2 left out" -o t.lmdb t.csv
grep -q "t.csv line 3: the quote" said && grep -q "t.csv line 4: data/none.jpg: No such file" said
report "and its bad rows by line" $?
check "its caption" 0 '"a cat, black"' --show 0 t.lmdb
check "a column that is not there" 1 "no column titel" --caption-column titel -o u.lmdb t.csv

(cd data && cp cat/1.jpg k.jpg && echo "a caption" >k.txt && tar cf ../w.tar k.jpg k.txt && rm k.jpg k.txt)
check "a WebDataset shard" 0 "^w.lmdb: 1 pairs, 1 captions, 0 classes" -o w.lmdb w.tar
gzip -k w.tar
check "a compressed one" 0 "^x.lmdb: 1 pairs" -o x.lmdb w.tar.gz
tar cf f.tar data/truck/2.jpg data/cat/1.jpg
check "a tar of class folders" 0 "^f.lmdb: 2 pairs, 2 captions, 2 classes" -o f.lmdb f.tar
head -c 700 f.tar >cut.tar
check "a tar that is cut" 1 "nothing was packed" -o g.lmdb cut.tar

printf 'Katze\nLaster\n' >names
check "names of classes" 0 "3 pairs" -o n.lmdb --classes names data
check "in captions" 0 "a photo of a Laster." --show 1 n.lmdb
printf 'Katze\n\nLaster\n' >names
check "an empty name" 1 "names line 2 is empty" -o m.lmdb --classes names data

check "a foreign file is refused" 1 "not an LMDB file" --list t.csv
head -c 5000 a.lmdb >cut.lmdb
check "a truncated store is refused" 1 "cut.lmdb" --list cut.lmdb
check "no source" 2 "no SOURCE" -o z.lmdb
check "no store" 2 "out FILE.lmdb is missing" ten.bin
check "a source that is not there" 1 "cannot open none.csv: No such file" -o z.lmdb none.csv
check "one of an unknown kind" 1 "cannot open none: No such file" -o z.lmdb none
check "one of a compressed kind" 1 "cannot open none: No such file" --from cifar -o z.lmdb none
check "a template without a gap" 1 "has no {}" -t "a cat" -o z.lmdb data
check "an unknown file" 1 "cannot tell what names is" -o z.lmdb names

# A run that is killed as soon as it has begun to write, which takes it a good while.
cp a.lmdb old
cp ten.bin big.bin
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    cat big.bin big.bin >bigger.bin && mv bigger.bin big.bin
done
"$duet" pack --replace --threads 1 -o a.lmdb big.bin >said 2>&1 &
packer=$!
tries=0
while [ ! -e a.lmdb.tmp ] && [ $tries -lt 500 ]; do
    sleep 0.01
    tries=$((tries + 1))
done
kill -9 $packer
wait $packer 2>/dev/null
[ $? -eq 137 ] && cmp -s a.lmdb old
report "a killed run leaves the old store" $?
check "what it left is no store" 1 "a.lmdb.tmp" --list a.lmdb.tmp
check "and the next run is not in its way" 0 "3 pairs" --replace -o a.lmdb data
[ ! -e a.lmdb.tmp ]
report "and removes what was left" $?

if (ulimit -f 8) 2>/dev/null; then
    (
        ulimit -f 16
        "$duet" pack --replace -o a.lmdb --from cifar big.bin 2>limit.txt
    )
    [ $? -eq 1 ] && [ "$(wc -l <limit.txt)" -eq 1 ] && grep -q "cannot write .*a.lmdb after .* pairs: File too large" limit.txt
    report "a file that may not grow is one clear line" $?
    cp limit.txt said
    "$duet" pack --list a.lmdb >/dev/null && [ ! -e a.lmdb.tmp ]
    report "and the old store is there" $?
else
    n=$((n + 1))
    echo "ok $n - a file that may not grow # SKIP ulimit -f cannot be set here"
fi
run "a pair before the first" 2 "show: -1 is out of range (0 to 9007199254740992)" pack --show -1 nothing.lmdb
finish
