#!/bin/sh
# duet classify on the command line: ten colours with names are learnt, zero-shot and by a classifier on either tower, and told.
. tests/cli.sh
. "$root/tests/ten.sh"

mkdir -p flat folder/cat folder/dog
for i in 0 1 2 3 4 5 6 7 8 9; do
    "$duet" pack --show $i --jpeg flat/$i.jpg ten.lmdb >said 2>&1
done
cp flat/3.jpg folder/cat/a.jpg
cp flat/5.jpg folder/dog/b.jpg

# By prompts.
ten=airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck
run "a store by prompts" 0 '^3  cat  *[0-9.]* %  a photo of a cat.$' classify -w run ten.lmdb --classes $ten
i=0
for class in $(echo $ten | tr , ' '); do
    sed -n "$((i + 1))p" said | grep -q "^$i  $class  *[0-9.]* %  a photo of a $class.$" || echo "$i is no $class"
    i=$((i + 1))
done >wrong
[ ! -s wrong ] && [ "$(wc -l <said)" -eq 10 ]
report "each by its name, one a line" $?
run "a flat folder" 0 '^flat/8.jpg  ship  *[0-9.]* %$' classify -w run flat -c $ten
run "a folder of class folders" 0 '^folder/dog/b.jpg  dog  *[0-9.]* %$' classify -w run folder -c $ten
run "picture files, three classes each" 0 '^flat/1.jpg        automobile  *[0-9.]* %  [a-z]*  *[0-9.]* %  [a-z]*  *[0-9.]* %$' \
    classify -w run flat/1.jpg folder/cat/a.jpg -c $ten
[ "$(head -n 1 said | wc -c)" -eq "$(tail -n 1 said | wc -c)" ] && grep -q '^folder/cat/a.jpg  cat ' said
report "in columns" $?
run "no more classes than there are" 0 '^flat/3.jpg  cat  *[0-9.]* %  dog  *[0-9.]* %$' classify -w run flat/3.jpg -c dog,cat -k 9
run "templates" 0 '^flat/3.jpg  cat' classify -w run flat -c $ten -t "a photo of a {}." -t "{}"
printf '{"classes": [{"name": "C", "prompt": "a photo of a cat."}, {"prompt": "a photo of a dog."}]}' >prompts.json
run "whole prompts" 0 '^flat/3.jpg  C  ' classify -w run flat -c prompts.json

# One distribution, whatever the batch and the threads: the softmax of the cosines by the temperature.
"$duet" classify -w run ten.lmdb -c $ten --json --top 10 >a.json 2>said &&
    "$duet" classify -w run ten.lmdb -c $ten --json --top 10 --batch 3 --threads 2 >b.json 2>said &&
    "$duet" embed -w run ten.lmdb --images --out images.npy >said 2>&1 &&
    "$duet" embed -w run ten.lmdb --captions --out texts.npy >said 2>&1
report "JSON" $?
if command -v python3 >/dev/null 2>&1; then
    python3 - >said 2>&1 <<'END'
import json, math, struct
a, b = ([json.loads(line) for line in open(name)] for name in ("a.json", "b.json"))
assert [r["index"] for r in a] == list(range(10)) and len(b) == 10
assert a[3]["caption"] == "a photo of a cat."

def matrix(name):
    data = open(name, "rb").read()
    size, = struct.unpack("<H", data[8:10])
    return list(struct.iter_unpack("<32f", data[10 + size:]))

data = open("run/model.safetensors", "rb").read()
size, = struct.unpack("<Q", data[:8])
start, end = json.loads(data[8:8 + size])["logit_scale"]["data_offsets"]
scale = math.exp(struct.unpack("<f", data[8 + size + start:8 + size + end])[0])
names = "airplane automobile bird cat deer dog frog horse ship truck".split()
texts = matrix("texts.npy")
for x, y, image in zip(a, b, matrix("images.npy")):
    p = [c["probability"] for c in x["classes"]]
    q = {c["class"]: c["probability"] for c in y["classes"]}
    assert len(p) == 10 and abs(sum(p) - 1) < 1e-9 and p == sorted(p, reverse=True), x
    scores = [scale * sum(i * t for i, t in zip(image, text)) for text in texts]
    total = sum(math.exp(s) for s in scores)
    for c in x["classes"]:
        want = math.exp(scores[names.index(c["class"])]) / total
        assert abs(want - c["probability"]) < 1e-4 and abs(want - q[c["class"]]) < 1e-4, (x, y, want)
END
    report "a distribution, the same in other batches" $?
else
    skip "a distribution, the same in other batches" "python3 computes it"
fi

# By a classifier.
cat >tune.json <<'END'
{"weights": "run", "data": {"train": "ten.lmdb", "validation_share": 0}, "augment": {"mode": "none", "flip": 0},
 "batch_size": 10, "epochs": 5, "optimizer": {"lr": 0.001}}
END
"$duet" finetune tune.json --out tuned >said 2>&1
report "a classifier of pictures" $?
run "a store by the classifier" 0 '^8  ship  *[0-9.]* %  a photo of a ship.$' classify -w tuned ten.lmdb
run "files, as JSON" 0 '^{"file": *"flat/3.jpg", *"classes": *\[{"class": *"cat", *"probability": *0.[0-9]*}' \
    classify -w tuned flat/3.jpg --json
run "and by other classes" 0 '^flat/3.jpg  cat   *[0-9.]* %  ship  *[0-9.]* %$' classify -w tuned flat/3.jpg -c ship,cat

{
    echo text,label
    for i in 1 2 3 4 5 6 7 8; do
        echo "a photo of a cat and a dog,animal"
        echo "a photo of a ship and a truck,thing"
    done
} >texts.csv
cat >words.json <<'END'
{"weights": "run", "tower": "text", "data": {"train": "texts.csv", "validation_share": 0},
 "batch_size": 8, "epochs": 20, "optimizer": {"lr": 0.002}}
END
"$duet" finetune words.json --out words >said 2>&1
report "a classifier of texts" $?
run "texts" 0 '^animal  *[0-9.]* %  thing  *[0-9.]* %  a photo of a cat and a dog$' \
    classify -w words --text "a photo of a ship and a truck" --text "a photo of a cat and a dog"
grep -q '^thing  *[0-9.]* %  animal  *[0-9.]* %  a photo of a ship and a truck$' said
report "each of them" $?
printf '  a photo of a cat and a dog \r\n\na photo of a ship and a truck' >lines.txt
run "lines of a file" 0 '^thing  *[0-9.]* %  a photo of a ship and a truck$' classify -w words lines.txt
[ "$(wc -l <said)" -eq 2 ] && grep -q '^animal  *[0-9.]* %  a photo of a cat and a dog$' said
report "without blank ones" $?
run "lines of a pipe, as JSON" 0 '^{"text": *"a photo of a ship and a truck", *"classes": *\[{"class": *"thing"' \
    classify -w words --json --batch 1 - <lines.txt
mkfifo pipe
"$duet" classify -w words --batch 1 - <pipe >talk 2>said &
{
    echo "a photo of a cat and a dog"
    i=0
    while [ ! -s talk ] && [ $i -lt 200 ]; do
        sleep 0.1
        i=$((i + 1))
    done
    cp talk early
    echo "a photo of a ship and a truck"
} >pipe
wait
[ "$(wc -l <early)" -eq 1 ] && [ "$(wc -l <talk)" -eq 2 ]
report "an answer before the next line is there" $?

# Bad things are told one by one, and the others named.
printf 'no picture' >flat/3x.jpg
head -c 200 flat/4.jpg >flat/4x.jpg
run "bad pictures" 1 '^duet classify: flat/3x.jpg: neither a JPEG nor a PNG' classify -w tuned flat --batch 4
[ "$(grep -c '^flat/[0-9].jpg  ' said)" -eq 10 ] && grep -q '^duet classify: flat/4x.jpg: JPEG' said &&
    [ "$(wc -l <said)" -eq 12 ] && grep -q '^flat/9.jpg   *truck' said && grep -q '^flat/4.jpg   *deer' said
report "and all the others" $?
"$duet" classify -w tuned flat --batch 4 2>/dev/null | LC_ALL=C sort -c 2>said
report "in order" $?
run "one that is not there" 1 '^duet classify: .*nothing.jpg' classify -w tuned nothing.jpg flat/1.jpg
[ "$(wc -l <said)" -eq 2 ] && grep -q '^flat/1.jpg   *automobile ' said
report "and one that is" $?
run "a store with a bad picture" 0 'packed\|pairs' pack --template "a {}" -o bad.lmdb folder
"$duet" pack --show 1 --jpeg whole.jpg bad.lmdb >said 2>&1
if command -v python3 >/dev/null 2>&1; then
    python3 - <<'END'
jpeg, store = open("whole.jpg", "rb").read(), open("bad.lmdb", "rb").read()
assert jpeg in store
open("bad.lmdb", "wb").write(store.replace(jpeg, jpeg[:3] + bytes(len(jpeg) - 3)))
END
    run "is told by its number" 1 '^duet classify: bad.lmdb: pair 1: ' classify -w tuned bad.lmdb
    [ "$(wc -l <said)" -eq 2 ] && grep -q '^0  cat .*  a cat$' said
    report "and the rest named" $?
else
    skip "is told by its number" "python3 makes it"
fi
odd=$(printf 'flat/\377.jpg')
if cp flat/3.jpg "$odd" 2>/dev/null; then
    run "a name that is not UTF-8" 1 'not UTF-8' classify -w tuned "$odd" flat/1.jpg --json
    grep -q '"flat/1.jpg"' said && [ "$(wc -l <said)" -eq 2 ]
    report "is no JSON" $?
    run "nor in a folder" 1 'not UTF-8' classify -w tuned flat --json
    [ "$(grep -c '^{' said)" -eq 10 ]
    report "where the others are" $?
    rm "$odd"
else
    skip "a name that is not UTF-8" "the file system has none"
fi
printf 'fine\n\377\n%s\n' "a photo of a cat and a dog" >bad.txt
run "a line that is not UTF-8" 1 '^duet classify: bad.txt:2: .*UTF-8' classify -w words bad.txt
[ "$(wc -l <said)" -eq 3 ] && grep -q ' fine$' said && grep -q '^animal .* dog$' said
report "and the other lines" $?
{
    head -c 1048575 /dev/zero | tr '\0' a
    echo
    head -c 1048576 /dev/zero | tr '\0' a
    echo
} >long.txt
run "a line that is too long" 1 '^duet classify: long.txt:2: 1048576 bytes; expected at most 1048575$' classify -w words long.txt
[ "$(wc -l <said)" -eq 2 ]
report "and one just short enough" $?
run "no file of texts" 1 '^duet classify: flat/3.jpg:1: a NUL; expected one text a line$' classify -w words flat/3.jpg lines.txt
[ "$(wc -l <said)" -eq 3 ]
report "is told once" $?
run "a text that is not UTF-8" 1 '^duet classify: text 2: .*UTF-8' classify -w words -x cat -x "$(printf '\377x')"
run "no such texts" 1 'nothing.txt' classify -w words nothing.txt lines.txt
[ "$(wc -l <said)" -eq 3 ]
report "and other texts" $?

# What is wrong is said in one line.
refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
mkdir empty
refused "no weights" 2 'weights' classify ten.lmdb
refused "nothing to name" 2 'nothing to name' classify -w tuned
refused "no such run" 1 '^duet classify: .*nothing' classify -w nothing ten.lmdb
refused "no classifier and no classes" 1 '^duet classify: run has no classifier; ' classify -w run ten.lmdb
refused "prompts for texts" 1 '^duet classify: words is a classifier of texts; ' classify -w words lines.txt -c cat,dog
refused "a text for pictures" 1 '^duet classify: tuned is a classifier of pictures' classify -w tuned -x cat
refused "pictures for texts" 1 '^duet classify: flat: the model is a classifier of texts' classify -w words flat
refused "no picture at all" 1 '^duet classify: flat/3x.jpg: ' classify -w tuned flat/3x.jpg
refused "an empty folder" 1 '^duet classify: there are no images in empty' classify -w tuned empty
refused "a folder among files" 1 '^duet classify: flat: expected picture files' classify -w tuned flat/1.jpg flat
refused "no such store" 1 '^duet classify: .*nothing.lmdb' classify -w tuned nothing.lmdb
refused "one class" 1 '^duet classify: run: .*one class' classify -w run flat -c "cat,"
refused "a dash for a text" 2 'without --text, names the lines of the standard input' classify -w words --text -
refused "text and files" 2 'text and files' classify -w words lines.txt -x cat
refused "text and classes" 2 'classes names pictures' classify -w words -x cat -c cat,dog
refused "a template of nothing" 2 'templates are for' classify -w tuned flat -t "a {}"
refused "a template without its place" 1 'no {} for the class name' classify -w run flat -c cat,dog -t "a cat"
refused "a template for whole prompts" 1 'whole prompts' classify -w run flat -c prompts.json -t "a {}"
refused "top 0" 2 'out of range' classify -w tuned flat -k 0
if command -v python3 >/dev/null 2>&1; then
    python3 - <<'END'
import struct
data = open("tuned/model.safetensors", "rb").read()
size, = struct.unpack("<Q", data[:8])
open("diverged.safetensors", "wb").write(data[:8 + size] + b"\0\0\xc0\x7f" * ((len(data) - 8 - size) // 4))
END
    refused "a model that has diverged" 1 '^duet classify: .*finite' classify -w diverged.safetensors flat/1.jpg
else
    skip "a model that has diverged" "python3 makes it"
fi
if [ -w /dev/full ]; then
    "$duet" classify -w tuned ten.lmdb >/dev/full 2>said
    [ $? -eq 1 ] && grep -q '^duet classify: cannot write to standard output' said && [ "$(wc -l <said)" -eq 1 ]
    report "a full disk" $?
else
    skip "a full disk" "there is no /dev/full"
fi
finish
