#!/bin/sh
# duet finetune: from a small pretrained run to classifiers of images and of texts, through kills, signals and wrong words.
. tests/cli.sh

same() { # NAME FILE FILE
    cmp "$2" "$3" >said 2>&1
    report "$1" $?
}

has() { # NAME FILE PATTERN
    cp "$2" said
    grep -q -e "$3" "$2"
    report "$1" $?
}

refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}

# figure FILE NAME: the value of the figure of that name in evaluation.json
figure() {
    perl -0777 -ne 'my $name = shift @names; BEGIN { @names = pop @ARGV }
                    for (/\{[^{}]*\}/g) { next unless /"name": "[^"]*\Q$name\E"/ && /"value": ([-0-9.e]+)/; print "$1\n"; exit }' \
        "$1" "$2"
}

# tensor FILE NAME: its bytes
tensor() {
    perl -e 'my ($path, $name) = @ARGV; local $/; open my $f, "<:raw", $path or die; my $all = <$f>;
             my $size = unpack "Q<", $all; my $header = substr $all, 8, $size;
             $header =~ /"\Q$name\E":\{[^}]*"data_offsets":\[(\d+),(\d+)\]/ or die "no $name";
             print substr $all, 8 + $size + $1, $2 - $1' "$1" "$2"
}

# trained NAME RUN TENSOR... -- TENSOR...: those before the dashes changed on the way from ./run to RUN, those behind did not
trained() {
    name=$1 folder=$2 wanted=1
    shift 2
    for t in "$@"; do
        if [ "$t" = -- ]; then
            wanted=0
            continue
        fi
        tensor run/model.safetensors "$t" >before && tensor "$folder/model.safetensors" "$t" >after && [ -s after ] &&
            {
                cmp before after >said 2>&1
                [ $? -eq $wanted ]
            }
        report "$name: $t $([ $wanted -eq 1 ] && echo moved || echo stayed)" $?
    done
}

# ---- Data: CIFAR-10 records, four classes of colours under much noise; a pretrained run; texts ----
records() { # SEED COUNT
    perl -e 'my ($seed, $count) = @ARGV; srand $seed;
             my @colour = ([200, 80, 60], [60, 180, 90], [70, 90, 210], [190, 180, 60]);
             for my $i (0 .. $count - 1) {
                 my @shift = map { rand(140) - 70 } 1 .. 3;
                 print pack "C*", $i % 4, map { my $c = $_; map { my $v = $colour[$i % 4][$c] + $shift[$c] + rand(60) - 30;
                     $v < 0 ? 0 : $v > 255 ? 255 : $v } 1 .. 1024 } 0 .. 2;
             }' "$1" "$2"
}
records 1 96 >train.bin
records 2 60 >test.bin
cat >pretrain.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
           "text_cfg": {"context_length": 12, "width": 32, "heads": 2, "layers": 2}},
 "tokenizer": {"merges": 20}, "data": {"train": "train.lmdb", "threads": 1}, "batch_size": 16, "steps": 25}
END
{
    "$duet" pack --template "a photo of a {}." -o train.lmdb train.bin &&
        "$duet" pack --template "a photo of a {}." -o test.lmdb test.bin &&
        "$duet" pretrain pretrain.json --out run --quiet
} >said 2>&1
report "data, and a run to start from" $?
words() { # COUNT: texts of the classes warm and cold
    i=0
    echo "text,label"
    while [ $i -lt "$1" ]; do
        i=$((i + 1))
        echo "\"a hot, red fire $i\",warm"
        echo "the ice of blue water $i,cold"
    done
}
words 20 >texts.csv
words 5 >more.csv

# ---- Images ----
run "by options alone" 0 "done: options/model.safetensors" finetune -w run --train train.lmdb --test test.lmdb --epochs 4 \
    --set batch_size=16 --set optimizer.lr=1e-3 --out options
for file in config.json tokenizer.json log.jsonl model.safetensors interpolated.safetensors evaluation.json report.html; do
    [ -s options/$file ]
    report "there is $file" $?
done
[ ! -e options/best.safetensors ]
report "the best epoch is model.safetensors now" $?
has "config.json has defaults and options" options/config.json '"layer_decay"'
[ "$(grep -c '"event": "validation"' options/log.jsonl)" -eq 5 ]
report "the start and four epochs were looked at" $?
has "accuracy on the test set, with an interval" options/evaluation.json '"low"'
has "the curve of interpolation" options/evaluation.json '"Weight interpolation"'
[ "$(tr -d ' \n' <options/evaluation.json | grep -o '"points":\[\[[^]]*\]\(,\[[^]]*\]\)\{10\}\]' | wc -l)" -eq 2 ]
report "with eleven points for each of two sets" $?
echo "a text" >one.txt
run "the classifier serves as a model" 0 "1 texts" embed -w options --texts one.txt --out t.npy

cat >recipe.json <<'END'
{"weights": "run", "data": {"train": "train.lmdb", "test": "test.lmdb"}, "epochs": 4, "batch_size": 16,
 "optimizer": {"lr": 0.001}}
END
run "by a configuration" 0 "done: runs/recipe/model.safetensors" finetune recipe.json
same "the same parameters" options/model.safetensors runs/recipe/model.safetensors
run "options count more than the configuration" 0 "" finetune recipe.json --epochs 1 --out more --quiet
[ "$(grep -c '"event": "validation"' more/log.jsonl)" -eq 2 ]
report "the start and one epoch" $?
run "three threads" 0 "" finetune recipe.json --out threads --set data.threads=3 --quiet
same "change no bit" options/model.safetensors threads/model.safetensors

# Without steps the head says what the prompts say.
run "a learning rate of zero" 0 "" finetune recipe.json --epochs 1 --set optimizer.lr=0 --out still --quiet
run "the figures of the prompts" 0 "top-1" zeroshot -w run test.lmdb --name test --out zeroshot.json
for key in "top-1 accuracy" "top-5 accuracy" "mean per-class recall"; do
    { figure still/evaluation.json "$key" && figure zeroshot.json "$key"; } >said
    [ "$(wc -l <said)" -eq 2 ] && [ "$(sort -u said | wc -l)" -eq 1 ]
    report "a classifier starts as good as the prompts: $key $(head -n 1 said)" $?
done
same "and ends there" still/model.safetensors still/interpolated.safetensors

once="--epochs 1 --set interpolate=0 --set data.validation_share=0 --quiet"
run "the head alone" 0 "" finetune recipe.json --layers head --out head $once
trained "the head alone" head -- visual.proj visual.transformer.resblocks.1.mlp.c_fc.weight visual.conv1.weight text_projection
run "the last block too" 0 "" finetune recipe.json --layers 1 --out last $once
has "as a number" last/config.json '"layers": 1,'
trained "the last block" last visual.proj visual.ln_post.weight visual.transformer.resblocks.1.mlp.c_fc.weight -- \
    visual.transformer.resblocks.0.mlp.c_fc.weight visual.positional_embedding
run "a new head on features, mixup, smoothing, layer decay" 0 "" finetune recipe.json --head new --out new --epochs 1 --quiet \
    --set mixup=0.2 --set label_smoothing=0.1 --set layer_decay=0.7
trained "a new head on features" new visual.conv1.weight visual.transformer.resblocks.0.mlp.c_fc.weight -- \
    visual.proj text_projection logit_scale
[ ! -e new/interpolated.safetensors ]
report "with nothing to interpolate between" $?

# ---- The best epoch ----
# At a constant rate, and a high one, the last epochs are no better than one before.
patient="finetune recipe.json --head new --set schedule.kind=constant --set optimizer.lr=0.01 --set augment.mode=jitter"
run "stops when nothing gets better" 0 "no better: enough" $patient --epochs 40 --set patience=2 --out patient
epochs=$(grep -c '"event": "validation"' patient/log.jsonl)
[ "$epochs" -lt 40 ] && [ "$epochs" -ge 3 ]
report "after $epochs epochs" $?
cp patient/model.safetensors best
run "a finished run says so" 0 "done: patient" $patient --epochs 40 --set patience=2 --out patient
same "and keeps its best epoch" best patient/model.safetensors
run "a run of two epochs less" 0 "" $patient --set schedule.warmup=0 --epochs $((epochs - 2)) --out shorter --quiet
run "and one that stops there" 0 "" $patient --set schedule.warmup=0 --epochs 40 --set patience=2 --out stops --quiet
same "end alike" shorter/model.safetensors stops/model.safetensors

# ---- Interruptions ----
long="finetune recipe.json --epochs 30 --set checkpoint.every=4 --set interpolate=1 --set augment.mode=jitter --quiet"
run "an uninterrupted run" 0 "" $long --out whole
start() { # FOLDER: a run in the background, $child; SIGINT as a terminal's processes have it
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV or die' "$duet" $long --out "$1" >said 2>&1 &
    child=$!
}
checkpoint() { # FOLDER STEP: waits until there is one as late as that
    perl -e 'my ($folder, $step) = @ARGV; for (1 .. 20_000) {
                 last if grep { /step-(\d+)\.safetensors$/ && $1 >= $step } glob "$folder/checkpoints/*";
                 select undef, undef, undef, 0.001 }' "$1" "$2"
}
kills=0
for step in 4 23 52; do
    start killed
    checkpoint killed $step
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
    [ -e killed/model.safetensors ] || kills=$((kills + 1))
done
[ $kills -ge 2 ] # a busy machine may look too late
report "killed $kills times on its way" $?
run "goes on" 0 "" $long --out killed
for file in model.safetensors interpolated.safetensors; do
    same "to the same bits: $file" whole/$file killed/$file
done
grep -o '"step": [0-9]*, "loss": [^,]*' whole/log.jsonl >whole.steps
grep -o '"step": [0-9]*, "loss": [^,]*' killed/log.jsonl >killed.steps
diff whole.steps killed.steps >said && [ -s whole.steps ]
report "and every step is in the log once, with the same loss" $?
start stopped
checkpoint stopped 10
kill -INT $child
wait $child
status=$?
[ $status -eq 130 ]
report "SIGINT stops it, with status 130 ($status)" $?
ls stopped/checkpoints >said 2>&1
[ -s said ] && [ ! -e stopped/model.safetensors ]
report "with a checkpoint" $?
run "and it goes on" 0 "" $long --out stopped
same "to the same bits" whole/model.safetensors stopped/model.safetensors

# ---- One folder, one configuration ----
refused "another configuration does not go into an old run" 1 "was made with another configuration (epochs differs)" \
    finetune recipe.json --epochs 5
run "unless it is to begin anew" 0 "" finetune recipe.json --restart $once
[ ! -e runs/recipe/interpolated.safetensors ]
report "and what belonged to the old one is gone" $?

# ---- Texts ----
run "texts of a table" 0 "done: texts" finetune -w run --tower text --train texts.csv --test more.csv --epochs 15 \
    --set batch_size=8 --set optimizer.lr=3e-3 --out texts
[ "$(figure texts/evaluation.json "top-1 accuracy")" = 1.0 ]
report "are told apart" $?
trained "texts" texts token_embedding.weight transformer.resblocks.1.mlp.c_fc.weight -- visual.proj visual.conv1.weight text_projection
run "captions of a store" 0 "" finetune -w run --tower text --train train.lmdb --test test.lmdb --layers 1 \
    --set batch_size=8 --out captions --epochs 1 --quiet
run "texts against class prompts" 0 "" finetune -w run --tower text --head zeroshot --set 'templates=["{}"]' --train texts.csv \
    --epochs 1 --set batch_size=8 --out prompts --quiet
has "can be interpolated too" prompts/evaluation.json '"Weight interpolation"'

# ---- A fresh model; a residual tower; a folder of pictures ----
run "from nothing, on pixels" 0 "" finetune --train train.lmdb --set model=pixels-28px --set batch_size=16 --epochs 2 \
    --set data.validation_share=0 --out pixels --quiet
cat >residual.json <<'END'
{"model": {"vision_cfg": {"tower": "residual", "image_size": 16, "widths": [8, 16], "blocks": [1, 1]}}, "batch_size": 16,
 "data": {"train": "train.lmdb", "validation": "test.lmdb"}, "epochs": 2}
END
run "a residual tower without a text tower" 0 "" finetune residual.json --quiet
mkdir -p folder/cat folder/bird
for i in 0 1 2 3 4 5; do
    "$duet" pack --show $((4 * i + 2)) --jpeg folder/bird/$i.jpg train.lmdb
    "$duet" pack --show $((4 * i + 3)) --jpeg folder/cat/$i.jpg train.lmdb
done >said 2>&1
cp folder/cat/0.jpg folder
run "a folder of class folders" 0 "1 samples of folder have no class and are left out" finetune -w run --train folder --test folder \
    --set batch_size=4 --out folders --epochs 1

# ---- What is wrong is said in one line ----
tune="finetune -w run --train train.lmdb --out wrong"
texts="finetune -w run --tower text --out wrong --train"
refused "no weights" 1 "expected either weights" finetune --train train.lmdb --out wrong
echo '{"embed_dim": 8, "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}}' >fresh.json
run "from nothing, with a description from a file" 0 "" finetune --train train.lmdb --set model=fresh.json --set batch_size=16 --epochs 1 \
    --out described --quiet
grep -q '"image_size": 16' described/config.json
report "config.json holds the description" $?
refused "weights and model" 1 "expected either weights" $tune --set model=pixels-28px
refused "no such run" 1 "nothing: no such file or run" finetune -w nothing --train train.lmdb --out wrong
refused "no data" 2 "nothing to train on; give CONFIG.json, or --weights and --train" finetune -w run --out wrong
refused "no such data" 1 "nothing.lmdb" finetune -w run --train nothing.lmdb --out wrong
refused "a batch larger than the data" 1 "batch_size is 1000, but there are only 86 samples" $tune --set batch_size=1000
refused "a batch much larger" 1 "batch_size is 10000000, but there are only 86 samples" $tune --set batch_size=10000000
refused "a batch of texts larger than the data" 1 "batch_size is 1000, but there are only 36" $texts texts.csv --set batch_size=1000
refused "a class of the test that training does not know" 1 "test.lmdb has samples of the class 'airplane'" \
    finetune -w run --train folder --test test.lmdb --set batch_size=4 --out wrong
refused "a class of the validation data" 1 "test.lmdb has samples of the class 'airplane'" \
    finetune -w run --train folder --validation test.lmdb --set batch_size=4 --out wrong
mkdir bare
cp run/model.safetensors bare
refused "the text tower without a tokenizer" 1 "tokenizer" finetune -w bare --tower text --train texts.csv --out wrong
refused "prompts without a tokenizer" 1 "tokenizer" finetune -w bare --train train.lmdb --set batch_size=8 --out wrong
refused "prompts without a text tower" 1 "no text tower" finetune -w runs/residual --train train.lmdb --out wrong
refused "texts without a text tower" 1 "text tower" finetune -w runs/residual --tower text --train texts.csv --out wrong
refused "prompts for a fresh model" 1 'expected "new"' finetune --head zeroshot --train train.lmdb --set model=pixels-28px --out wrong
refused "mixup of texts" 1 "texts cannot be mixed" $texts texts.csv --set mixup=0.2
refused "interpolation with a new head" 1 "nothing to interpolate" $tune --head new --set interpolate=5
refused "a table for the image tower" 1 "is a table of texts" finetune -w run --train texts.csv --out wrong
refused "layers that are no number" 1 'layers: expected "all", "head" or a number' $tune --layers some
refused "a negative number of layers" 1 'layers: expected "all", "head" or a number' $tune --set layers=-1
refused "a template without a place" 1 "has no {}" $tune --set 'templates=["a photo"]'
refused "no templates" 1 "templates: 0" $tune --set 'templates=[]'
refused "an unknown key" 1 "data.trian" $tune --set data.trian=x
refused "a value out of range" 1 "mixup" $tune --set mixup=3
refused "a test that is no path" 1 "data.test" $tune --set data.test=3
echo '{"weights": "run", "epochs": "many"}' >bad.json
refused "a wrong type" 1 "bad.json: epochs" finetune bad.json --train train.lmdb --out wrong
echo '{"weights": ' >bad.json
refused "no JSON" 1 "bad.json:" finetune bad.json --out wrong
printf 'text,label\nfine,a\nbad \377,b\n' >bad.csv
refused "texts that are not UTF-8" 1 "bad.csv:3: " $texts bad.csv
printf 'text,label\nfine,a\ntoo,a\n' >single.csv
refused "a single class" 1 "single.csv has 1 class" $texts single.csv
[ ! -e wrong ]
report "and none of these leaves a folder" $?
run "a rate that is too high" 1 "ower learning rate" $tune --set optimizer.lr=1000 --set optimizer.clip_norm=0 \
    --set optimizer.kind=sgd --set batch_size=8 --set schedule.warmup=0 --quiet
refused "no such option" 2 "wieghts" finetune --wieghts run
refused "no such tower" 2 "image|text" finetune --tower sound
refused "no epochs" 2 "epochs" finetune --epochs 0
refused "two configurations" 2 "finetune" finetune recipe.json residual.json

# ---- MNIST ----
mnist="$root/../shared/data/mnist"
if [ -e "$mnist" ]; then
    mkdir packed
    "$duet" pack --out packed/mnist-train.lmdb "$mnist"/train-images-idx3-ubyte.gz >said 2>&1 &&
        "$duet" pack --out packed/mnist-test.lmdb "$mnist"/t10k-images-idx3-ubyte.gz >said 2>&1
    report "MNIST is packed" $?
    run "one linear layer, one epoch" 0 "" finetune "$root/experiments/mnist-linear.json" --set epochs=1 --out mnist --quiet
    accuracy=$(figure mnist/evaluation.json "top-1 accuracy")
    perl -e 'exit !($ARGV[0] >= 0.9)' "${accuracy:-0}"
    report "names 90 % and more (${accuracy:-none})" $?
else
    skip "MNIST, one linear layer" "the data is not here"
fi
# A model that is an image tower alone.
run "a tower of pixels" 0 "" finetune --set model=pixels-28px --train train.lmdb --epochs 1 --out bare --set batch_size=4
run "names no classes by prompts" 1 'this model has no text tower' zeroshot -w bare train.lmdb
run "has no embeddings" 1 'it has no embeddings' embed -w bare train.lmdb --out e.safetensors
run "nor a probe of them" 1 'it has no embeddings' probe -w bare train.lmdb test.lmdb --after-projection
run "nor pictures like a picture" 1 'it has no embeddings\|no text tower' retrieve -w bare train.lmdb --image 0
run "but features" 0 'top-1 accuracy' probe -w bare train.lmdb test.lmdb
run "what is no UTF-8 is not passed over" 1 'data.train: what was given is not UTF-8' finetune -w run --train "$(printf 'r\377.lmdb')" --out wrong
grep -q '"command"' bare/config.json && grep -q 'finetune' bare/report.html
report "the report says how to repeat a fine-tuning" $?
run "the configuration of a run serves again" 0 '' finetune bare/config.json --out again

finish
