#!/bin/sh
# Bad input on the command line: one clear line that names the file, the place and what was expected, status 1 (2 for wrong
# usage), and nothing that existed lost. (tests/pack.t does the same for packing.)
. tests/cli.sh

one_line() { # NAME: the last command said exactly one line
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}

refuse() { # NAME PATTERN WORDS...: status 1, one line
    name=$1 pattern=$2
    shift 2
    run "$name" 1 "$pattern" "$@"
    one_line "$name"
}

mkdir -p photos/cat photos/dog
for file in rgb_444 rgb_422 rgb_420_odd gray; do
    cp "$root/tests/golden/image/$file.jpg" photos/cat/
    cp "$root/tests/golden/image/$file.jpg" photos/dog/
done
run "packs" 0 "8 pairs" pack -o pairs.lmdb photos
cat >tiny.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"image_size": 16, "width": 16, "layers": 1, "patch_size": 8, "head_width": 8},
           "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 10}, "data": {"train": "pairs.lmdb", "threads": 0}, "batch_size": 4, "steps": 4,
 "checkpoint": {"every": 2, "keep": 2}}
END
run "trains" 0 "done: run/model.safetensors" pretrain tiny.json --out run

# ---- Configurations ----
refuse "a configuration that is not there" "none.json" pretrain none.json
printf '{"model": ' >half.json
refuse "half a configuration" "half.json:1" pretrain half.json
printf '[1]' >list.json
printf '{"embed_dim": 8, "vision_cfg": {"image_size": 16, "widht": 16}}' >wrong.json
refuse "a configuration that is a list" "list.json: expected an object" pretrain list.json
refuse "an unknown key" "batchsize.*did you mean.*batch_size" pretrain tiny.json --out x --set batchsize=4
refuse "an unknown key within" "optimizer.*lrr" pretrain tiny.json --out x --set optimizer.lrr=1
refuse "a wrong type" "steps: expected an integer, found a string" pretrain tiny.json --out x --set steps=many
refuse "a number out of range" "batch_size" pretrain tiny.json --out x --set batch_size=0
refuse "a batch without anything to compare" "batch_size: 1 is out of range" pretrain tiny.json --out x --set batch_size=1
refuse "a model that is none" "tiny.json: model: no model preset is called 'ViT-Z', nor is there such a file" pretrain tiny.json --out x \
    --set model=ViT-Z
refuse "a file that describes no model" "tiny.json: expected a model's description" pretrain tiny.json --out x --set model=tiny.json
refuse "a file with an unknown key" "model: wrong.json: vision_cfg.widht: unknown key; did you mean" pretrain tiny.json --out x \
    --set model=wrong.json
refuse "a directory" "model: .*photos" pretrain tiny.json --out x --set model=photos
refuse "a range, before the data is looked at" "tokenizer.merges: -8 is out of range" pretrain tiny.json --out x \
    --set tokenizer.merges=-8 --set batch_size=64
refuse "an integer with an exponent, out of range" "steps: 0 is out of range" pretrain tiny.json --out x --set steps=0e3
refuse "one that is too large" "99999999999999999999 is too large" pretrain tiny.json --out x \
    --set steps=99999999999999999999
refuse "heads that do not fit" "width 16 is not a multiple of its 3 heads" pretrain tiny.json --out x --set model.text_cfg.heads=3
refuse "a batch larger than the data" "only 8 pairs; --set batch_size=8 takes them all" pretrain tiny.json --out x --set batch_size=64
refuse "chunks that do not divide" "not a multiple of chunk_size" pretrain tiny.json --out x --set chunk_size=3
refuse "data that is not there" "no.lmdb" pretrain tiny.json --out x --set data.train=no.lmdb
refuse "the sigmoid loss without a bias" "init_logit_bias" pretrain tiny.json --out x --set loss=sigmoid
refuse "an evaluation of what is not there" "evaluate.sets.*gone.lmdb" pretrain tiny.json --out x \
    --set 'evaluate.sets=[{"data": "gone.lmdb"}]'
run "a model described on the command line" 0 "done" pretrain tiny.json --out described --set \
    'model={"embed_dim": 8, "vision_cfg": {"image_size": 16, "width": 16, "layers": 1, "patch_size": 8, "head_width": 8}, "text_cfg": {"context_length": 8, "width": 16, "heads": 2, "layers": 1}}'
if [ -c /dev/full ]; then
    "$duet" bench -m residual-32px -b 4 -n 1 >/dev/full 2>said
    [ $? -eq 1 ] && grep -q "cannot write to standard output" said
    report "figures that do not arrive are a failure" $?
fi
run "an unknown option is wrong usage" 2 "unknown option.*--stepz" pretrain tiny.json --stepz 4
run "no configuration is wrong usage" 2 "duet pretrain" pretrain
run "an unknown command is wrong usage" 2 "did you mean pretrain" pretrian

# ---- Stores ----
head -c 5000 pairs.lmdb >cut.lmdb
refuse "a truncated store" "cut.lmdb" pretrain tiny.json --out x --set data.train=cut.lmdb
cp tiny.json foreign.lmdb
refuse "a foreign file as a store" "foreign.lmdb.*not an LMDB file" pretrain tiny.json --out x --set data.train=foreign.lmdb

# ---- Weights ----
refuse "weights that are not there" "nowhere" zeroshot -w nowhere pairs.lmdb
head -c 3000 run/model.safetensors >cut.safetensors
refuse "truncated weights" "cut.safetensors" zeroshot -w cut.safetensors pairs.lmdb
cp tiny.json foreign.safetensors
refuse "a foreign file as weights" "foreign.safetensors" zeroshot -w foreign.safetensors pairs.lmdb
cp "$root/tests/golden/ops/linear_0.safetensors" tensors.safetensors
refuse "tensors that are no model" "Duet did not write it" zeroshot -w tensors.safetensors pairs.lmdb
mkdir empty
refuse "a folder that is no run" "is it the folder of a run" zeroshot -w empty pairs.lmdb

# A checkpoint of another shape: the run's description says width 16, the tensors are of width 24.
run "trains wider" 0 "done: wide" pretrain tiny.json --out wide --set model.text_cfg.width=24
rm run/checkpoints/*
cp wide/checkpoints/step-00000002.safetensors run/checkpoints/
cp run/model.safetensors before
refuse "a checkpoint of another shape" "tensors differ.*is \[.*expected \[" pretrain tiny.json --out run
cmp run/model.safetensors before >said 2>&1
report "and the parameters that were there are there still" $?

# ---- More threads than there can be ----
export OMP_NUM_THREADS=100000
run "a number of threads beyond reason is bounded" 0 "top-1" zeroshot -w wide pairs.lmdb
unset OMP_NUM_THREADS

# ---- A run that stopped half-way ----
cp -r wide half
rm half/model.safetensors half/checkpoints/step-00000004.safetensors
run "figures of an unfinished run" 0 "duet zeroshot: note: half is not finished: step 2 of 4" zeroshot -w half pairs.lmdb
run "and what is kept of them" 0 "" zeroshot -w half pairs.lmdb --quiet --out kept.json
grep -q '"note": "[^"]*at step 2 of 4"' kept.json
report "says so too" $?
run "a quiet command does not tell" 0 "top-1" zeroshot -w half pairs.lmdb --quiet
lacks "indeed" "finished"
run "as JSON" 0 '"unfinished": {' zeroshot -w half pairs.lmdb --json --quiet
run "nor is a finished run told of" 0 "top-1" zeroshot -w wide pairs.lmdb
lacks "and its figures are" "finished"
wide="--set model.text_cfg.width=24"
cp half/config.json whole.config
head -c 100 whole.config >half/config.json
refuse "a damaged config.json" "configuration cannot be used (put it back.*--restart.*half/config.json:" pretrain tiny.json --out half $wide
printf '[1]' >half/config.json
refuse "one that is a list" "cannot be used.*half/config.json: expected an object, found an array" pretrain tiny.json --out half $wide
rm half/config.json
refuse "none at all" "half/config.json is missing.*step-00000002.safetensors was made with.*--restart" pretrain tiny.json --out half $wide
cp whole.config half/config.json
run "with the right one it goes on" 0 "resumes after step 2 of 4" pretrain tiny.json --out half $wide
printf '{' >half/config.json
run "and it begins anew over a damaged one" 0 "done: half" pretrain tiny.json --out half $wide --restart

# ---- Captions and queries ----
printf 'path,caption\nphotos/cat/gray.jpg,good\nphotos/dog/gray.jpg,b\377d\n' >bad.csv
run "a caption that is not UTF-8 is listed" 0 "UTF-8" pack -o listed.lmdb bad.csv
run "or stops the run" 1 "UTF-8" pack --strict -o strict.lmdb bad.csv
[ ! -e strict.lmdb ]
report "which leaves no store" $?
refuse "a query that is not UTF-8" "UTF-8" zeroshot -w wide pairs.lmdb --query "$(printf 'b\377d')"
refuse "a template without its place" "{}" zeroshot -w wide pairs.lmdb --template "a photo"

# ---- Pictures ----
mkdir -p broken/cat
head -c 900 photos/cat/rgb_444.jpg >broken/cat/cut.jpg
: >broken/cat/empty.jpg
echo "not a picture" >broken/cat/text.jpg
cp photos/cat/gray.jpg broken/cat/good.jpg
# The frame header FFC0 holds height and width after its length and precision: 60,000 by 60,000, and 0 by 0.
offset=$(LC_ALL=C grep -obUaP '\xff\xc0' photos/cat/rgb_444.jpg | head -n 1 | cut -d: -f1)
for size in '\352\140\352\140 bomb' '\000\000\000\000 nothing'; do
    target=broken/cat/${size#* }.jpg
    cp photos/cat/rgb_444.jpg "$target"
    printf "${size% *}" | dd of="$target" bs=1 seek=$((offset + 5)) conv=notrunc 2>/dev/null
done
run "broken pictures are listed and left out" 0 "1 pairs.* 5 left out" pack -o broken.lmdb broken
for name in cut empty text bomb nothing; do
    grep -q "$name.jpg" said
    report "$name.jpg is named" $?
done
run "or stop the run" 1 "jpg" pack --strict -o none.lmdb broken
[ ! -e none.lmdb ]
report "which leaves no store" $?

# ---- A full disk ----
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
    trap 'umount "$work/small"; rm -rf "$work"' EXIT
    run "trains on a small disk" 0 "done" pretrain tiny.json --out small/run
    head -c 2000000 /dev/zero >small/filler 2>/dev/null
    run "a full disk while checkpointing" 1 "small/.*: No space left on device" pretrain tiny.json --out small/run \
        --set steps=400 --restart
    find small/run -name '*tmp*' >said
    [ ! -s said ]
    report "leaves no half-written file" $?
    run "nor does a new run" 1 "small/.*: No space left on device" pretrain tiny.json --out small/other
    rm small/filler
    run "with room again it goes on" 0 "done" pretrain tiny.json --out small/run --set steps=400 --restart
    rm -r small/run small/other

    # A run that has come some way keeps what it has, and ends with the same bits when there is room again.
    long="pretrain tiny.json --set steps=500 --set checkpoint.every=20"
    run "a longer run" 0 "done" $long --out long
    "$duet" $long --out small/long >said 2>&1 &
    child=$!
    tries=0
    until [ -e small/long/checkpoints/step-00000040.safetensors ] || [ $tries -ge 1000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
    rm -f small/long/checkpoints/*.tmp
    ls -l small/long/checkpoints >before
    head -c 2000000 /dev/zero >small/filler 2>/dev/null
    run "a full disk stops a run" 1 "small/.*: No space left on device" $long --out small/long
    ls -l small/long/checkpoints >after
    diff before after >said
    report "which keeps its checkpoints" $?
    rm small/filler
    run "with room again it ends" 0 "done" $long --out small/long
    cmp long/model.safetensors small/long/model.safetensors >said 2>&1
    report "with the same parameters" $?
else
    skip "a full disk while checkpointing" "a small file system cannot be mounted here"
fi

for kilobytes in 1 60; do # the first file that is larger fails: the vocabulary, a checkpoint
    (ulimit -f $((kilobytes * 2)) && "$duet" pretrain tiny.json --out limited$kilobytes) >said 2>&1
    [ $? -eq 1 ] && grep -q "limited$kilobytes/.*: File too large" said
    report "a limit of $kilobytes KB on files is told like a full disk" $?
    [ -z "$(find limited$kilobytes -name '*.tmp')" ]
    report "and leaves nothing half-written" $?
done

# ---- A mistake does not stand in the way of the next try ----
run "after a mistake" 1 "no.lmdb" pretrain tiny.json --out again --set data.train=no.lmdb
run "the right command works" 0 "done" pretrain tiny.json --out again
finish
