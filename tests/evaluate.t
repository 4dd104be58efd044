#!/bin/sh
# duet evaluate on the command line: a suite of two models and two sets, its results, what is not run twice, what fails.
. tests/cli.sh

plane() { # 1024 bytes of one value
    head -c 1024 /dev/zero | tr '\0' "\\$(printf %03o "$1")"
}

# Four pictures of each of three colours as CIFAR-10 records: a label, then a red, a green and a blue plane.
for copy in 0 1 2 3; do
    for label in 0 1 2; do
        printf '%b' "\\0$(printf %o $label)"
        for channel in 0 1 2; do
            plane $((label == channel ? 200 + 10 * copy : 20 * copy))
        done
    done
done >colours.bin
printf 'red\ngreen\nblue\n3\n4\n5\n6\n7\n8\n9\n' >names.txt
cat >config.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
           "text_cfg": {"context_length": 12, "width": 32, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 10}, "data": {"train": "colours.lmdb"}, "augment": {"mode": "none", "flip": 0},
 "batch_size": 12, "steps": 60, "optimizer": {"lr": 0.003}}
END
"$duet" pack --classes names.txt -o colours.lmdb colours.bin >said 2>&1 && cp colours.lmdb other.lmdb &&
    "$duet" pretrain config.json --out run >said 2>&1 &&
    "$duet" finetune -w run --train colours.lmdb --epochs 2 --out tuned --set batch_size=3 \
        --set data.validation_share=0.25 >said 2>&1
report "models to evaluate" $?

cat >suite.json <<'END'
{"name": "colours", "weights": "run",
 "sets": [{"name": "Colours", "data": "colours.lmdb", "train": "colours.lmdb", "validation": "other.lmdb",
           "tasks": ["zeroshot", "retrieval", "probe"], "shots": [1, 2], "seeds": 2, "templates": ["a photo of a {}."]},
          {"name": "Others", "data": "other.lmdb", "tasks": ["zeroshot", "classify"], "weights": ["tuned"]}]}
END
run "a suite, one table" 0 '^run  *Colours  *zeroshot  *top-1 accuracy  *100.00 %  100.00 to 100.00 %  *12$' evaluate suite.json
cp said table
for line in '^run  *Colours  *retrieval  *text to image R@1 .* %' '^run  *Colours  *probe  *top-1 accuracy  *100.00 %' \
    'few-shot probe, 2 per class .* +- ' '^tuned  *Others  *classify  *top-1 accuracy' '^tuned  *Others  *zeroshot'; do
    grep -q "$line" table
    report "the table has $line" $?
done
grep -q '"suite": "colours"' runs/suite-results.json && [ "$(grep -c '"key": "[0-9a-f]\{16\}"' runs/suite-results.json)" -eq 5 ] &&
    grep -q '"key": "text_to_image_mean_rank"' runs/suite-results.json
report "one file with all figures" $?

cp runs/suite-results.json before.json
run "a second time nothing is run" 0 'run, Colours, probe: done before' evaluate suite.json
grep -v "done before\|^run\|^tuned" said | grep -q ' s$'
[ $? -ne 0 ] && cmp runs/suite-results.json before.json >>said 2>&1
report "and nothing changes" $?
sed 's/, "Others"//; s/"shots": \[1, 2\]/"shots": [1]/' suite.json >new && mv new suite.json
run "what changed is run, the rest is not" 0 'tuned, Others, classify: done before' evaluate suite.json
grep -q '^run, Colours, probe: [0-9.]* s$' said
report "the set with other settings" $?
"$duet" pack --classes names.txt --replace -o other.lmdb colours.bin >/dev/null 2>&1
run "data that was replaced is evaluated again" 0 '^tuned, Others, classify: [0-9.]* s$' evaluate suite.json
run "all of it, when asked" 0 '^run, Colours, zeroshot: [0-9.]* s$' evaluate suite.json --again
run "all figures" 0 'expected calibration error' evaluate suite.json --all
run "as JSON" 0 '"task": "probe"' evaluate suite.json --json --quiet
run "elsewhere" 0 'top-1' evaluate suite.json --out there.json
[ -s there.json ]
report "the results go where --out says" $?

sed 's/"weights": \["tuned"\]/"weights": ["run"]/' suite.json >broken.json
run "what fails is told" 1 'run, Others, classify: run has no classifier; duet finetune makes one' evaluate broken.json
grep -q "duet evaluate: 1 of the suite's tasks failed" said &&
    grep -q '^run  *Others  *zeroshot  *top-1' said
report "and the rest is run" $?

# What is missing is found before the first task, which would be well, has run.
mkdir empty
cat >missing.json <<'END'
{"weights": "run",
 "sets": [{"data": "colours.lmdb", "tasks": ["zeroshot"]},
          {"data": "absent.lmdb", "tasks": ["zeroshot"], "weights": ["missing", "empty", "missing"]},
          {"data": "colours.lmdb", "train": "untrained.lmdb", "validation": "none.lmdb", "tasks": ["probe"]},
          {"data": "colours.lmdb", "train": "not-asked-for.lmdb", "tasks": ["zeroshot"], "classes": "gone.json"},
          {"data": "absent.csv", "tasks": ["classify"]}]}
END
run "what is missing is told first" 1 '^duet evaluate: no task was run, for 7 things are missing: missing: no such file or run; ' evaluate missing.json
for place in absent.lmdb empty untrained.lmdb none.lmdb gone.json absent.csv; do
    says "and $place" "[; ]$place[:;]"
done
lacks "once each, of what is asked for" '\(missing: no such.*missing: no such\|not-asked-for\)'
[ "$(wc -l <said)" -eq 1 ] && [ ! -e runs/missing-results.json ]
report "in one line, with nothing run" $?

# What a key holds: the task's own settings, by content.
printf 'red\ngreen\nblue\n' >classes.txt
one() { # TASKS NAME
    printf '{"name": "%s", "weights": "run", "sets": [{"name": "C", "data": "named.lmdb", "tasks": [%s], "classes": "classes.txt"}]}\n' \
        "$2" "$1" >one.json
}
"$duet" pack --classes names.txt -o named.lmdb colours.bin >said 2>&1
printf 'red\ngreen\nblue\n3\n4\n5\n6\n7\n8\n9\n' >classes.txt
one '"zeroshot"' first
run "classes of a file" 0 'run, C, zeroshot: [0-9.]* s$' evaluate one.json --out many.json
one '"zeroshot", "retrieval"' first
run "another task leaves the first alone" 0 'run, C, zeroshot: done before' evaluate one.json --out many.json
printf 'red\ngreen\nblue\n3\n4\n5\n6\n7\n8\n9\n10\n' >classes.txt
run "an edited file of classes is another task" 0 'run, C, zeroshot: [0-9.]* s$' evaluate one.json --out many.json
one '"probe"' second
sed 's/"tasks"/"train": "colours.lmdb", "tasks"/' one.json >two.json
run "another suite in the same file" 0 'run, C, probe: [0-9.]* s$' evaluate two.json --out many.json
[ "$(grep -c '"suite": "first"' many.json)" -eq 2 ] && [ "$(grep -c '"suite": "second"' many.json)" -eq 1 ]
report "keeps the first one's results" $?
mkdir copy && cp run/model.safetensors run/tokenizer.json copy/
sed 's/"weights": "run"/"weights": ["run", "copy"]/' two.json >three.json
run "the same model at another path" 0 '^copy  *C  *probe' evaluate three.json --out many.json

bad() { # NAME PATTERN JSON
    printf '%s\n' "$3" >bad.json
    run "$1" 1 "$2" evaluate bad.json
}
bad "no sets" 'sets: there are none' '{"weights": "run", "sets": []}'
bad "no model" 'neither the suite nor the set x has "weights"' '{"sets": [{"name": "x", "data": "x", "tasks": ["zeroshot"]}]}'
bad "an unknown task" 'tasks\[0\]: expected zeroshot, retrieval, probe or classify, found flying' \
    '{"weights": "run", "sets": [{"data": "x", "tasks": ["flying"]}]}'
bad "a probe without training" 'has the task probe, but no "train" data' \
    '{"weights": "run", "sets": [{"data": "x", "tasks": ["probe"]}]}'
bad "a template without its place" 'no {} for the class name' \
    '{"weights": "run", "sets": [{"data": "x", "tasks": ["zeroshot"], "templates": ["photo"]}]}'
bad "an unknown key" 'sets.*: unknown key' '{"weights": "run", "sets": [{"data": "x", "tasks": ["zeroshot"], "date": 1}]}'
bad "weights that are no paths" 'weights: expected a path or a list of paths' '{"weights": [1], "sets": [{"data": "x", "tasks": ["zeroshot"]}]}'
echo '{"results": 3}' >odd.json
run "another file in the results' place" 1 'odd.json: there is no list of results in it' evaluate suite.json --out odd.json
run "no such suite" 1 'nowhere.json' evaluate nowhere.json
run "no suite" 2 'duet evaluate' evaluate
finish
