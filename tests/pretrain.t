#!/bin/sh
# duet pretrain: what a run leaves, what its log says, and what does and does not change its numbers.
. tests/cli.sh

last_step() { # FOLDER
    grep -o '^{"step": [0-9]*, "loss"' "$1/log.jsonl" | tail -n 1 | tr -dc 0-9
}

same() { # NAME FOLDER FOLDER: the same parameters
    cmp "$2/model.safetensors" "$3/model.safetensors" >said 2>&1
    report "$1" $?
}

mkdir -p photos/cat photos/dog
for file in rgb_444 rgb_422 rgb_420_odd gray rgb_411 rgb_440_restart; do
    cp "$root/tests/golden/image/$file.jpg" photos/cat/
    cp "$root/tests/golden/image/$file.jpg" photos/dog/
done
run "packs into a folder that is not there yet" 0 "12 pairs" pack -o packed/pairs.lmdb photos
run "and once more" 0 "4 pairs" pack -n 4 --bare -o packed/more.lmdb photos
cat >tiny.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"image_size": 16, "width": 16, "layers": 1, "patch_size": 8, "head_width": 8},
           "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 10}, "data": {"train": "packed/pairs.lmdb", "threads": 1}, "batch_size": 4, "steps": 12,
 "checkpoint": {"every": 5, "keep": 1},
 "evaluate": {"every": 4, "sets": [{"name": "again", "data": "packed/pairs.lmdb", "retrieval": true, "every_time": true}]}}
END

# ---- What a run leaves ----
run "trains into runs/NAME" 0 "done: runs/tiny/model.safetensors" pretrain tiny.json
for file in config.json tokenizer.json log.jsonl model.safetensors evaluation.json report.html \
    checkpoints/step-00000012.safetensors; do
    [ -s runs/tiny/$file ]
    report "there is $file" $?
done
[ "$(ls runs/tiny/checkpoints)" = step-00000012.safetensors ]
report "one checkpoint is kept" $?
grep -q '"beta2"' runs/tiny/config.json && grep -q '"onednn"' runs/tiny/config.json
report "config.json has defaults and versions" $?
[ "$(grep -c '"loss".*"pairs_per_second".*"waiting".*"lr".*"grad_norm".*"temperature"' runs/tiny/log.jsonl)" -eq 12 ]
report "the log has a line for every step" $?
[ "$(grep -c '"event": "evaluation' runs/tiny/log.jsonl)" -ge 3 ]
report "and the evaluations" $?
run "the weights serve" 0 "top-1" zeroshot -w runs/tiny packed/pairs.lmdb

# ---- What does not change the numbers, and what does ----
run "without threads" 0 done pretrain tiny.json --out threads0 --set data.threads=0
same "the same parameters" runs/tiny threads0
run "with three" 0 done pretrain tiny.json --out threads3 --set data.threads=3
same "the same parameters again" runs/tiny threads3
run "without evaluations" 0 done pretrain tiny.json --out blind --set evaluate.every=0 --set evaluate.sets=[]
same "and again" runs/tiny blind
run "with another seed" 0 done pretrain tiny.json --out seed2 --set seed=2
! cmp -s runs/tiny/model.safetensors seed2/model.safetensors
report "other parameters" $?

# ---- Other recipes ----
sed 's|"train": "packed/pairs.lmdb"|"train": ["packed/pairs.lmdb", "packed/m*.lmdb"]|; s|"batch_size": 4|"batch_size": 16|' \
    tiny.json >several.json
run "several stores, a batch of all pairs" 0 done pretrain several.json
run "a cache of decoded pictures" 0 done pretrain tiny.json --out cache --set data.cache_mb=8
run "chunks" 0 done pretrain tiny.json --out chunks --set chunk_size=2
run "SGD" 0 done pretrain tiny.json --out sgd --set optimizer.kind=sgd --set optimizer.nesterov=true
sed 's|"embed_dim": 16|"embed_dim": 16, "init_logit_bias": -10|' tiny.json >sigmoid.json
run "the sigmoid loss" 0 done pretrain sigmoid.json --set loss=sigmoid
run "the vocabulary of another run" 0 done pretrain tiny.json --out borrowed --set tokenizer=runs/tiny/tokenizer.json
same "is the one that it would have learned" runs/tiny borrowed
run "a constant rate, no warm-up, a log line every five steps" 0 done pretrain tiny.json --out flat \
    --set schedule.kind=constant --set schedule.warmup=0 --set log_every=5 --set optimizer.lr=0.5e-3
[ "$(grep -c '"loss".*"lr": 0.0005' flat/log.jsonl)" -eq 3 ]
report "at steps 5, 10 and the last" $?
run "quiet" 0 done pretrain tiny.json --out quiet --quiet
! grep -q '^step' said
report "shows no steps" $?

# ---- A model from a file ----
sed -n '/"embed_dim"/,/text_cfg/p' tiny.json | sed 's/^{"model": //; s/}},$/}}/' >model.json
sed '/"embed_dim"/,/text_cfg/d' tiny.json | sed '1i {"model": "model.json",' >named.json
run "the description in a file of its own" 0 done pretrain named.json --out named
same "the same parameters" runs/tiny named
run "or named on the command line" 0 done pretrain tiny.json --out given --set model=model.json
same "as well" runs/tiny given
rm model.json
run "config.json has it, and needs the file no more" 0 done pretrain named/config.json --out again
same "as well" runs/tiny again
grep -q '"embed_dim": 16' named/config.json && ! grep -q model.json named/config.json
report "it is written there" $?
run "steps with an exponent" 0 "done: runs/tiny" pretrain tiny.json --set steps=1.2e1
sed 's/"steps": 12/"steps": 1.2e1/' tiny.json >exponent.json
run "in a file it is asked for as an integer" 1 "steps: expected an integer, .*; write 12" pretrain exponent.json

# ---- Limited in time: 1.8 seconds ----
limited="pretrain tiny.json --set steps=1000000 --set minutes=0.03 --set checkpoint.every=1 --set evaluate.sets=[]"
"$duet" $limited --out limited >said 2>&1 &
child=$!
perl -e 'my $tries = 0; select undef, undef, undef, 0.001 until -e "limited/checkpoints/step-00000008.safetensors" || $tries++ > 10_000'
kill -9 $child
wait $child 2>/dev/null
"$duet" $limited --out limited >said 2>&1 &
child=$!
tries=0
until grep -q "minutes allow" said || [ $tries -ge 1000 ]; do
    sleep 0.02
    tries=$((tries + 1))
done
before=$(ls limited/checkpoints) # the checkpoint of that step comes next
until [ "$(ls limited/checkpoints)" != "$before" ] || [ $tries -ge 1000 ]; do
    sleep 0.01
    tries=$((tries + 1))
done
kill -9 $child 2>/dev/null
wait $child 2>/dev/null
steps=$(sed -n 's/.*minutes allow \([0-9]*\) steps.*/\1/p' said)
[ "${steps:-0}" -ge 45 ] && [ "${steps:-0}" -lt 1000000 ]
report "a killed run measures its pace anew" $?
run "and once it has settled on a number of steps" 0 done $limited --out limited
[ "$(last_step limited)" = "$steps" ]
report "keeps to it ($steps)" $?
finish
