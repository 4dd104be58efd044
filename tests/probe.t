#!/bin/sh
# duet probe on the command line: ten colours in several shades are packed, and told apart by features of a small model.
. tests/cli.sh

plane() { # 1024 bytes of one value
    head -c 1024 /dev/zero | tr '\0' "\\$(printf %03o "$1")"
}

# CIFAR-10 records: a label, then a red, a green and a blue plane. Shades FROM to TO of the labels up to LAST.
colours() { # FROM TO LAST
    for shade in $(seq "$1" "$2"); do
        for label in $(seq 0 "$3"); do
            printf '%b' "\\0$(printf %o "$label")"
            plane $((label % 3 * 110 + shade))
            plane $((label / 3 % 3 * 110 + shade))
            plane $((label / 9 * 180 + label % 2 * 50 + shade))
        done
    done
}
colours 1 6 9 >train.bin
colours 7 8 9 >test.bin
colours 9 9 9 >validation.bin
cat >config.json <<'END'
{"model": {"embed_dim": 8,
           "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32},
           "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": "tokenizer.json", "data": {"train": "train.lmdb"}, "augment": {"mode": "none", "flip": 0},
 "batch_size": 10, "steps": 4, "optimizer": {"lr": 0.001}}
END
for set in train test validation; do
    "$duet" pack --template "a photo of a {}." -o $set.lmdb $set.bin >>said 2>&1
done
"$duet" tokenizer train --merges 20 --out tokenizer.json train.lmdb >said 2>&1 &&
    "$duet" pretrain config.json --out run >said 2>&1
report "a run to probe" $?

run "a probe" 0 '^top-1 accuracy  *100.00 %  *100.00 to 100.00 %  *20  ' probe -w run train.lmdb test.lmdb
grep -q '^training  *train.lmdb: 60 images, 32 features, computed in ' said &&
    grep -q '^test  *test.lmdb: 20 images, 32 features, computed in ' said &&
    grep -q '^10 classes, C = .*, the best of [0-9]* fits in .* of 10 validation images$' said
report "says what it was made of" $?
[ "$(ls run/features/*.safetensors | wc -l)" -eq 2 ]
report "features are kept" $?
ls -i run/features >before
run "and found again" 0 '^training .*, from run/features/train-features-.*.safetensors$' probe -w run train.lmdb test.lmdb
ls -i run/features >said
cmp before said >>said 2>&1
report "untouched" $?
run "another layer" 0 '^test  *test.lmdb: 20 images, 8 features, computed' \
    probe -w run/model.safetensors train.lmdb test.lmdb --after-projection --cache elsewhere
[ "$(ls elsewhere/t*-embedding-*.safetensors | wc -l)" -eq 2 ]
report "in another place" $?
run "no cache" 0 'computed in' probe -w run train.lmdb test.lmdb --no-cache --C 1
grep -q '^10 classes, C = 1$' said
report "a given C" $?
run "a validation set" 0 'of 10 validation images' probe -w run train.lmdb test.lmdb --validation validation.lmdb
run "few shots" 0 '^2 per class, 3 draws  *[0-9.]* %  sd ' probe -w run train.lmdb test.lmdb --few-shot 1,2
run "few shots in any order" 0 '^2 per class, 3 draws' \
    probe -w run train.lmdb test.lmdb --few-shot 2,1,2 --out run/evaluation.json
[ "$(grep -c ' per class, 3 draws' said)" -eq 2 ] && grep ' per class' said | head -n 1 | grep -q '^1 '
report "come in ascending order, each once" $?
run "which the report reads" 0 'report.html' report run
run "folds without a test" 0 '^3 folds of the training  *100.00 %  sd 0.00 %  *60  ' probe -w run train.lmdb --folds 3 -C 10

mkdir -p folder/cat folder/dog
for label in 3 5; do
    for shade in 0 1 2; do
        class=cat
        [ $label -eq 5 ] && class=dog
        "$duet" pack --show $((shade * 10 + label)) --jpeg folder/$class/$shade.jpg train.lmdb >said 2>&1
    done
done
run "a folder against a store of more classes, by name" 0 '^test  *folder: 6 images' probe -w run train.lmdb folder
grep -q '^top-1 accuracy  *100.00 %' said
report "all right" $?

# Files.
run "writes for the report, and weights" 0 '"converged": true' probe -w run train.lmdb test.lmdb --json --name colours \
    --few-shot 1,2 --seeds 1 --folds 2 --out evaluation.json --save probe.safetensors
run "again" 0 'top-1' probe -w run train.lmdb test.lmdb --name colours --out evaluation.json
cp evaluation.json said
[ "$(grep -c '"name": "colours, probe: top-1 accuracy"' said)" -eq 1 ] && grep -q '"name": "colours: few-shot probe"' said &&
    grep -q '"name": "colours, probe: choice of C"' said && grep -q '"name": "colours, probe: 2-fold accuracy"' said
report "one file with all of it" $?
head -c 900 probe.safetensors | tr -d '\0' >said
grep -q '"weight"' said && grep -q '"bias"' said && grep -q 'airplane' said
report "weights with class names" $?
train=$(echo run/features/train-features-*) test=$(echo run/features/test-features-*)
run "features of files" 0 '^top-1 accuracy  *100.00 %' probe --features "$train" "$test"
"$duet" embed -w run test.lmdb --images --out embeddings.safetensors >said 2>&1
run "what duet embed wrote" 0 '^top-1 accuracy' probe --features embeddings.safetensors embeddings.safetensors --C 1

# A cache file that is not what its name says is told and replaced.
noted() { # NAME PATTERN
    "$duet" probe -w run train.lmdb test.lmdb -C 1 >out 2>said && [ "$(wc -l <said)" -eq 1 ] && grep -q "$2" said &&
        grep -q '^training .*computed' out && grep -q '^test .*from' out
    report "$1" $?
    run "$1: replaced" 0 '^training .*from' probe -w run train.lmdb test.lmdb -C 1
}
cp "$test" "$train"
noted "another's features" '^duet probe: note: .* holds features of data [0-9a-f]*, expected [0-9a-f]*; .* computed anew$'
head -c 3000 "$train" >part && mv part "$train"
noted "a torn cache" '^duet probe: note: .*train-features-.*; the features are computed anew$'
"$duet" pretrain config.json --out again --set seed=7 >said 2>&1
mkdir again/features && cp "$train" again/features
run "another run computes its own" 0 '^training .*computed' probe -w again train.lmdb test.lmdb -C 1

# What is wrong is said in one line.
refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
refused "no weights" 2 'give --weights RUN, or --features' probe train.lmdb test.lmdb
refused "two origins" 2 'do not go together' probe -w run --features a b
refused "no test" 2 'give TEST, --folds K or --save' probe -w run train.lmdb
refused "shots that are no numbers" 2 "found '1,x'" probe -w run train.lmdb test.lmdb --few-shot 1,x
refused "a C below 0" 2 "positive number or sweep, found '-1'" probe -w run train.lmdb test.lmdb --C=-1
refused "a share of everything" 2 'above 0 and below 1' probe -w run train.lmdb test.lmdb --validation-share 1
refused "a choice between one" 2 '--validation chooses C' probe -w run train.lmdb test.lmdb --validation test.lmdb -C 1
refused "no such run" 1 '^duet probe: .*nothing' probe -w nothing train.lmdb test.lmdb
refused "no such data" 1 '^duet probe: .*nothing.lmdb' probe -w run train.lmdb nothing.lmdb
refused "classes that training never saw" 1 \
    "image 0 of test.lmdb is of the class 'airplane', which is not among the 2 classes" probe -w run folder test.lmdb -C 1
refused "as little as the validation may have them" 1 "image 0 of test.lmdb is of the class 'airplane'" \
    probe -w run folder folder --validation test.lmdb
refused "a class of files that training never saw" 1 "of the class 'airplane', which no image of .*folder-features-" \
    probe --features "$(echo run/features/folder-features-*)" "$test" -C 1
refused "more shots than images" 1 \
    "train.lmdb: class 'airplane' has 5 images to train on; 9 shots need at least 9" \
    probe -w run train.lmdb test.lmdb --few-shot 9
refused "more folds than images" 1 "class 'airplane' has 6 images .*; 7 folds need" probe -w run train.lmdb --folds 7
mkdir -p lone/cat lone/dog plain empty
cp folder/cat/*.jpg lone/cat
cp folder/dog/0.jpg lone/dog
cp folder/dog/0.jpg plain
refused "folds of a class with one image" 1 "lone: class 'dog' has 1 image to train on; 2 folds need" \
    probe -w run lone --folds 2 -C 1
refused "no labels" 1 'plain: none of its 1 images has a class' probe -w run plain test.lmdb
refused "no labels to test on" 1 'plain: none of its 1 images has a class' probe -w run train.lmdb plain
refused "an empty split" 1 'there are no images in empty' probe -w run train.lmdb empty
mkdir -p alone/dog
cp folder/dog/0.jpg alone/dog
mkdir -p "odd/$(printf 'caf\351')" odd/dog
cp folder/dog/*.jpg odd/dog
cp folder/cat/*.jpg odd/caf*
refused "a class name that is not UTF-8" 1 'the training data: the name of class 0, .caf.xe9., is not UTF-8; rename it' \
    probe -w run odd folder -C 1
refused "one class alone" 1 "all of its 1 images are of the class 'dog'" probe -w run alone --folds 2
refused "features of different width" 1 'embeddings.safetensors has 8 features a row, .* has 32' \
    probe --features "$train" embeddings.safetensors
echo 'no tensors' >bad.safetensors
refused "a file that is none" 1 '^duet probe: .*bad.safetensors' probe --features bad.safetensors "$test"
echo 'no JSON' >evaluation.json
run "an evaluation file that is none, after the table" 1 'evaluation.json:1' probe -w run train.lmdb test.lmdb -C 1 --out evaluation.json
finish
