#!/bin/sh
# duet zeroshot and duet embed on the command line: ten colours with names are packed, learnt, and told apart.
. tests/cli.sh
. "$root/tests/ten.sh"

run "names all that it learnt" 0 '^top-1 accuracy  *100.00 %  *100.00 to 100.00 %  *10  *10.00 %  among 10 classes$' \
    zeroshot --weights run ten.lmdb
run "top-5 and its chance" 0 '^top-5 accuracy  *100.00 % .* 10  *50.00 %' zeroshot -w run ten.lmdb
run "captions and images find each other" 0 '^text to image R@1  *100.00 % .* 10  *10.00 %  among 10$' \
    zeroshot -w run ten.lmdb --retrieval
run "ranks" 0 '^image to text, median rank  *1\.0  *10  ' zeroshot -w run ten.lmdb --retrieval
run "more candidates" 0 'top-1 accuracy .*  10  *8.33 %  among 12 classes' \
    zeroshot -w run ten.lmdb --classes \
    "truck,zebra,frog,cat,deer,dog,ship,horse,airplane,automobile,bird,tent"
run "templates" 0 'top-1 accuracy' zeroshot -w run ten.lmdb -t "a photo of a {}." -t "{}"
printf 'a photo of a {}.\n\na {} in colour\n' >templates.txt
run "templates of a file" 0 'top-1 accuracy' zeroshot -w run ten.lmdb --templates templates.txt
{
    printf '{"classes": ['
    comma=
    for class in airplane automobile bird cat deer dog frog horse ship truck; do
        case $class in airplane | automobile | ship | truck) kind=thing ;; *) kind=animal ;; esac
        printf '%s{"prompt": "a photo of a %s.", "attributes": {"kind": "%s"}}' "$comma" $class $kind
        comma=,
    done
    printf ']}\n'
} >classes.json
run "attributes of whole prompts" 0 '^kind accuracy  *100.00 %  *10  *50.00 %  of the predicted class, 2 values$' \
    zeroshot -w run ten.lmdb --classes classes.json

mkdir -p folder/cat folder/dog
"$duet" pack --show 3 --jpeg folder/cat/1.jpg ten.lmdb >said 2>&1
"$duet" pack --show 5 --jpeg folder/dog/1.jpg ten.lmdb >said 2>&1
run "a folder of class folders" 0 '^top-1 accuracy  *100.00 % .* 2  *50.00 %' zeroshot -w run folder
run "a folder among more names" 0 'among 3 classes' zeroshot -w run folder --classes ship,dog,cat

run "names in other letters, in any order" 0 '^top-1 accuracy  *100.00 %' zeroshot -w run folder --classes Dog,CAT
run "finds an image for a text" 0 '^   1 .* \* a photo of a ship. (image 8)$' \
    zeroshot -w run ten.lmdb \
    -q "a photo of a ship." --top 2
printf 'a photo of a dog.\n\nanything else\n' >queries.txt
run "writes for the report" 0 '"anything else"' \
    zeroshot -w run ten.lmdb --queries queries.txt --retrieval --name colours --out evaluation.json
run "and again, as JSON" 0 '"key": "top1"' \
    zeroshot -w run ten.lmdb --name colours --out evaluation.json --json
cp evaluation.json said
[ "$(grep -c '"name": "colours: top-1 accuracy"' said)" -eq 1 ] &&
    grep -q '"name": "colours: text to image R@5"' said &&
    grep -q '"query": "anything else"' said &&
    grep -q '"correct": null' said && grep -q 'median' said &&
    grep -q '"confusions"' said && grep -q '"reliability"' said && grep -q '"gap"' said
report "one file with all of it" $?
"$duet" zeroshot -w run ten.lmdb --retrieval --threads 1 --batch 3 >a.txt 2>said &&
    "$duet" zeroshot -w run ten.lmdb --retrieval --threads 3 --batch 10 >b.txt 2>said &&
    cmp a.txt b.txt >>said 2>&1
report "threads and batches change no figure" $?

{
    printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck
    seq 11990
} >many.txt
run "more classes than a report takes" 0 'among 12000 classes' \
    zeroshot -w run ten.lmdb --classes many.txt -t "{}" --out run/evaluation.json
run "are left out of it" 0 'report.html' report run

run "embeds" 0 '^e.safetensors: 10 images, 10 texts, width 32$' embed -w run ten.lmdb --out e.safetensors
head -c 600 e.safetensors | tr -d '\0' >said
grep -q '"image_embeddings"' said && grep -q '"text_embeddings"' said && grep -q '"labels"' said &&
    grep -q '"caption_image"' said
report "with everything in it" $?
printf 'one\ntwo\nthree\n' >texts.txt
run "embeds texts alone" 0 '^t.npy: 0 images, 3 texts, width 32$' embed -w run --texts texts.txt --out t.npy
[ "$(wc -c <t.npy)" -eq $((128 + 3 * 32 * 4)) ] && head -c 128 t.npy | grep -a -q "'shape': (3, 32)"
report "as one matrix" $?
run "embeds texts from a pipe" 0 '1 texts' embed -w run --texts - --out t.safetensors <<END
a line
END
run "embeds a folder without captions" 0 '^f.safetensors: 2 images, 0 texts' embed -w run folder --out f.safetensors
run "images as .npy" 0 '^i.npy: 10 images, 0 texts' embed -w run ten.lmdb --images --out i.npy

# What is wrong is said in one line, and no file is left half-written.
refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
refused "no weights" 2 'weights' zeroshot ten.lmdb
refused "no such run" 1 '^duet zeroshot: .*nothing' zeroshot -w nothing ten.lmdb
refused "weights of a foreign file" 1 '^duet zeroshot: .*ten.bin' zeroshot -w ten.bin ten.lmdb
refused "no such data" 1 '^duet zeroshot: .*nothing.lmdb' zeroshot -w run nothing.lmdb
refused "a template without a place" 1 "template 'a photo' has no {}" zeroshot -w run ten.lmdb -t "a photo"
refused "a template for whole prompts" 1 'classes.json has whole prompts' \
    zeroshot -w run ten.lmdb --classes classes.json -t "{}"
refused "two kinds of templates" 2 'do not go together' \
    zeroshot -w run ten.lmdb --templates templates.txt -t "{}"
refused "too few classes" 1 "2 classes, ten.lmdb has 10 and not 'airplane'" \
    zeroshot -w run ten.lmdb --classes dog,cat
refused "no such classes" 1 'nothing.json: No such file' zeroshot -w run ten.lmdb --classes nothing.json
refused "a query that is not UTF-8" 1 'query 1: ' zeroshot -w run ten.lmdb -q "$(printf '\377x')"
printf 'fine\nbad \377\n' >bad.txt
refused "queries that are not UTF-8" 1 '^duet zeroshot: bad.txt:2: ' \
    zeroshot -w run ten.lmdb --queries bad.txt
mkdir plain
cp folder/cat/1.jpg plain
mkdir -p "odd/$(printf 'caf\351')" odd/dog
cp folder/dog/*.jpg odd/dog
cp folder/cat/*.jpg odd/caf*
refused "a class name that is not UTF-8" 1 'odd: the name of class 0, .caf.xe9., is not UTF-8; rename it' zeroshot -w run odd
refused "a folder without classes" 1 'plain has no classes' zeroshot -w run plain
refused "a folder without captions" 1 'has no captions' zeroshot -w run folder --retrieval
head -c $(($(wc -c <folder/dog/1.jpg) / 2)) folder/dog/1.jpg >folder/dog/torn.jpg
refused "a torn image" 1 '^duet zeroshot: folder/dog/torn.jpg: ' zeroshot -w run folder
echo 'no JSON' >evaluation.json
run "an evaluation file that is none, after the table" 1 'evaluation.json:1' zeroshot -w run ten.lmdb --out evaluation.json
[ "$(cat evaluation.json)" = "no JSON" ]
report "which stays" $?
refused "which matrix" 2 'one matrix; choose' embed -w run ten.lmdb --out x.npy
refused "an unknown kind of file" 2 'ends in .safetensors or .npy' embed -w run ten.lmdb --out x.csv
refused "nothing to embed" 2 'give DATA' embed -w run --out x.npy
refused "a blank line among the texts" 1 'templates.txt:2: ' embed -w run --texts templates.txt --out x.npy
refused "captions that are not there" 1 'plain has no captions' embed -w run plain --captions --out x.npy
refused "a place that cannot be written" 1 '^duet embed: ' embed -w run --texts texts.txt --out nowhere/x.npy
[ -e x.npy ]
[ $? -eq 1 ]
report "a failure leaves no file" $?
if [ -w /dev/full ]; then
    for command in "zeroshot -w run ten.lmdb" "zeroshot -w run ten.lmdb --json" "retrieve -w run ten.lmdb -q cat" \
        "retrieve -w run ten.lmdb" "distance -w run ten.lmdb ten.lmdb"; do
        "$duet" $command >/dev/full 2>said
        [ $? -eq 1 ] && grep -q 'cannot write to standard output: No space left on device' said
        report "$command: a full disk, and why" $?
    done
else
    skip "a full disk" "there is no /dev/full"
fi
finish
