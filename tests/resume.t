#!/bin/sh
# A run that is killed at any moment and started again ends with the very bits of one that was not.
. tests/cli.sh

mkdir photos
cp "$root"/tests/golden/image/rgb_*.jpg "$root"/tests/golden/image/gray*.jpg photos/
i=0
for file in photos/*.jpg; do
    i=$((i + 1))
    printf '%s,picture number %d of a set\n' "$file" $i
done | sed '1i path,caption' >table.csv
run "packs" 0 "pairs" pack -o pairs.lmdb table.csv
cat >tiny.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"tower": "residual", "image_size": 32, "widths": [8, 16], "blocks": [1, 1], "stem_stride": 2},
           "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 20}, "data": {"train": "pairs.lmdb", "threads": 1},
 "augment": {"mode": "random_resized_crop"}, "batch_size": 4, "steps": 400, "checkpoint": {"every": 7, "keep": 2},
 "evaluate": {"every": 150, "sets": [{"name": "again", "data": "pairs.lmdb", "retrieval": true, "every_time": true}]}}
END
run "an uninterrupted run ends" 0 "done: whole/model.safetensors" pretrain tiny.json --out whole

# start FOLDER: a run in the background, $child.
start() {
    # a shell's background processes ignore SIGINT, which a terminal's do not
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV or die' "$duet" pretrain tiny.json --out "$1" >said 2>&1 &
    child=$!
}

kills=0
for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
    start killed
    # 20 to 170 ms, another moment each time
    sleep "0.$(printf %03d $(($(od -An -N2 -tu2 /dev/urandom) % 150 + 20)))"
    kill -9 $child 2>/dev/null && kills=$((kills + 1))
    wait $child 2>/dev/null
done
[ $kills -ge 3 ]
report "it was killed $kills times" $?

# While a checkpoint is written its file has a temporary name: a kill then leaves it behind.
torn=0 try=0
while [ $torn -eq 0 ] && [ $try -lt 20 ] && [ ! -e killed/model.safetensors ]; do
    try=$((try + 1))
    start killed
    perl -e 'my ($child) = @ARGV; for (1 .. 200_000) { last if glob("killed/checkpoints/*.tmp") }
             kill "KILL", $child' $child
    wait $child 2>/dev/null
    [ -z "$(find killed -name '*.tmp')" ] || torn=1
done
if [ $torn -eq 1 ]; then
    report "and once while it wrote a checkpoint" 0
else
    skip "and once while it wrote a checkpoint" "that moment was not met in $try tries"
fi
run "the killed run ends" 0 "done: killed/model.safetensors" pretrain tiny.json --out killed
cmp whole/model.safetensors killed/model.safetensors >said 2>&1
report "with the same parameters, bit for bit" $?
find killed -name '*.tmp' >said
[ ! -s said ]
report "nothing half-written is left" $?
ls killed/checkpoints | grep -c safetensors >said
[ "$(cat said)" -le 2 ]
report "old checkpoints are gone" $?
grep -o '"step": [0-9]*, "loss": [^,]*' whole/log.jsonl >whole.steps
grep -o '"step": [0-9]*, "loss": [^,]*' killed/log.jsonl >killed.steps
diff whole.steps killed.steps >said
report "and the log has every step once, with the same losses" $?

start stopped
await stopped/log.jsonl
kill -INT $child
wait $child
status=$?
if [ $status -eq 0 ]; then
    skip "SIGINT stops politely" "the run was over before the signal"
else
    [ $status -eq 130 ] && grep -q 'the same command goes on from there' said
    report "SIGINT stops politely, with status 130" $?
fi
run "and it goes on" 0 "done: stopped/model.safetensors" pretrain tiny.json --out stopped
cmp whole/model.safetensors stopped/model.safetensors >said 2>&1
report "to the same bits" $?

# A lost connection: SIGHUP, unless the run was started to outlive one.
for meant in DEFAULT IGNORE; do
    perl -e '$SIG{HUP} = shift; exec @ARGV or die' $meant "$duet" pretrain tiny.json --out "hangup-$meant" >said 2>&1 &
    child=$!
    await hangup-$meant/log.jsonl
    kill -HUP $child
    wait $child
    status=$?
    if [ $meant = IGNORE ]; then
        [ $status -eq 0 ] && grep -q "done: hangup-IGNORE" said
        report "under nohup SIGHUP is nothing" $?
    elif [ $status -eq 0 ]; then
        skip "SIGHUP stops politely" "the run was over before the signal"
    else
        [ $status -eq 130 ] && grep -q 'the same command goes on from there' said
        report "SIGHUP stops politely, with status 130" $?
    fi
done

run "a finished run says so and keeps its parameters" 0 "done: whole" pretrain tiny.json --out whole
cmp whole/model.safetensors killed/model.safetensors >said 2>&1
report "they are the same still" $?

# One run, one process.
mkfifo gate
perl -e 'use Fcntl ":flock"; open my $folder, "<", "whole" or die; flock $folder, LOCK_EX or die;
         open my $gate, ">", "gate"; print $gate "locked\n"; close $gate; sleep 60' &
holder=$!
read -r _ <gate
run "two processes do not train in one folder" 1 "whole: another process trains" pretrain tiny.json --out whole
kill $holder
wait $holder 2>/dev/null

run "another configuration does not go into an old run" 1 "was made with another configuration (optimizer.lr differs)" \
    pretrain tiny.json --out whole --set optimizer.lr=0.5
run "unless it is to begin anew" 0 "done: whole" pretrain tiny.json --out whole --restart --set seed=2 --set steps=5
finish
