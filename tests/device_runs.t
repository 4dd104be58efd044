#!/bin/sh
# Whole commands on the simulated GPU against the same ones on the CPU: trainings of every kind, resuming, what models are used for,
# and what is said when the device fails.
. tests/cli.sh

simulator=$(dirname "$duet")/libduet_cudasim.so
if [ ! -e "$simulator" ]; then
    skip "commands on the simulated device" "$simulator is not built"
    finish
    exit
fi
export DUET_CUDA="$simulator"

# near NAME FOLDER FOLDER TOLERANCE KEYS: both logs have the same steps, and the numbers whose names match KEYS differ by at most
# TOLERANCE of themselves (of 0.1 where they are smaller).
near() {
    perl -e 'my ($tolerance, $keys, @logs) = (splice(@ARGV, 0, 2), map { [grep { /"loss"/ } do { open my $f, "<", "$_/log.jsonl"; <$f> }] } @ARGV);
             my ($worst, $seen) = ("", 0);
             die "logs of " . @{$logs[0]} . " and " . @{$logs[1]} . " steps\n" if @{$logs[0]} != @{$logs[1]};
             for my $i (0 .. $#{$logs[0]}) {
                 my ($a, $b) = map { {/"([a-z_]+)": (-?[\d.e+-]+|NaN|null)/g} } $logs[0][$i], $logs[1][$i];
                 for (grep { /^($keys)$/ && !/per_second|waiting/ } keys %$a) {
                     my $scale = abs($a->{$_}) > 0.1 ? abs($a->{$_}) : 0.1;
                     $seen++;
                     $worst .= "line $i: $_ $a->{$_} and $b->{$_}\n" unless abs($a->{$_} - $b->{$_}) <= $tolerance * $scale;
                 }
             }
             print $worst, "$seen numbers\n";
             exit($worst || !$seen ? 1 : 0)' "$4" "$5" "$2" "$3" >said 2>&1
    report "$1" $?
}

same() { # NAME FOLDER FOLDER: the same parameters, and a log with the same numbers
    steps_of "$2/log.jsonl" >one.steps
    steps_of "$3/log.jsonl" >other.steps
    { cmp "$2/model.safetensors" "$3/model.safetensors" && diff one.steps other.steps; } >said 2>&1
    report "$1" $?
}

# float32 sums in another order: some 2^-24 of each number, which a few steps of AdamW may make larger. Of 1e-6 to 1e-5 in fact.
exact=1e-4
# bfloat16 keeps 8 bits, and the loss is of some dozen roundings after another.
rough=0.06

# both NAME TOLERANCE WORDS...: trains on the CPU, on the device, and there in bfloat16, into NAME-cpu, NAME-fp32 and NAME-bf16.
both() {
    what=$1
    shift
    run "$what on the CPU" 0 "done: $what-cpu" "$@" --out "$what-cpu" --device cpu
    run "$what on the device" 0 "^device: cuda (simulated, fp32)$" "$@" --out "$what-fp32"
    near "$what: the same numbers" "$what-cpu" "$what-fp32" $exact '\w+'
    run "$what in bfloat16" 0 "^device: cuda (simulated, bf16)$" "$@" --out "$what-bf16" --precision bf16
    near "$what: losses nearby" "$what-cpu" "$what-bf16" $rough 'loss'
}

cut() { # FOLDER: without its last checkpoint, as a run that was killed before it
    rm "$(ls -d "$1"/checkpoints/*.safetensors | tail -n 1)" "$1/model.safetensors"
}

# ---- Data and models: ten colours in 32 x 32 ----

. "$root/tests/colours.sh"
cat ten.bin ten.bin ten.bin ten.bin >forty.bin
run "packs" 0 "10 pairs" pack --template "a photo of a {}." -o ten.lmdb ten.bin
run "and more" 0 "40 pairs" pack --template "a photo of a {}." -o forty.lmdb forty.bin
run "a vocabulary" 0 "tokens" tokenizer train --merges 10 --out tokenizer.json ten.lmdb
cat >vit.json <<'END'
{"model": {"embed_dim": 16, "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
           "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": "tokenizer.json", "data": {"train": "ten.lmdb", "threads": 1}, "augment": {"mode": "random_resized_crop", "flip": 0.5},
 "batch_size": 4, "steps": 6, "checkpoint": {"every": 2, "keep": 9}, "optimizer": {"lr": 0.002}}
END
sed 's/"vision_cfg": {[^}]*}/"vision_cfg": {"tower": "residual", "image_size": 16, "widths": [8, 12], "blocks": [1, 1], "stem_stride": 1}/
     s/"embed_dim": 16/&, "init_logit_bias": -10/; s/"batch_size": 4, "steps": 6/"loss": "sigmoid", "batch_size": 5, "steps": 3/' vit.json >residual.json
sed 's/"vision_cfg": {[^}]*}/"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "patch_size": null}/
     s/"steps": 6/"steps": 1/' vit.json >resnet.json

# ---- Pretraining ----

both vit pretrain vit.json
both residual pretrain residual.json
both resnet pretrain resnet.json
run "chunks on the CPU" 0 "done" pretrain vit.json --out chunks-cpu --device cpu --set chunk_size=2
run "chunks on the device" 0 "done" pretrain vit.json --out chunks --set chunk_size=2
near "chunks: the same numbers" chunks-cpu chunks $exact '\w+'
run "evaluations on the way" 0 "done" pretrain vit.json --out seen --set evaluate.every=2 \
    --set 'evaluate.sets=[{"name": "again", "data": "ten.lmdb", "retrieval": true, "every_time": true}]'
same "change nothing" vit-fp32 seen

kill_at_checkpoints killed 2 pretrain vit.json --out killed
[ $kills -ge 1 ]
report "killed $kills times at a checkpoint, it resumed $resumed times" $?
run "and then ends" 0 "done: killed" pretrain vit.json --out killed
same "with the same bits" vit-fp32 killed
cp -r vit-bf16 again
cut again
run "in bfloat16 too" 0 "resumes after step 4 of 6" pretrain vit.json --out again --precision bf16
same "with the same bits there" vit-bf16 again
cut again
run "a run of the device goes on with the CPU" 0 "^the steps before ran on cuda in bf16, the next run on cpu in fp32" pretrain vit.json --out again --device cpu
near "nearby" vit-cpu again $rough 'loss'
cp -r vit-cpu back
cut back
run "and one of the CPU with the device" 0 "^the steps before ran on cpu in fp32, the next run on cuda in fp32" pretrain vit.json --out back
near "with the same numbers" vit-cpu back $exact '\w+'

# ---- What a model is used for ----

sed 's/"steps": 6/"steps": 200/; s/"batch_size": 4/"batch_size": 10/; s/"mode": "random_resized_crop", "flip": 0.5/"mode": "none", "flip": 0/
     s/"every": 2/"every": 200/' vit.json >learn.json
run "a model that has learnt" 0 "done" pretrain learn.json --out run --device cpu

# embeds NAME TOLERANCE WORDS...: the same numbers from both devices
embeds() {
    what=$1 tolerance=$2
    shift 2
    "$duet" embed "$@" -o here.npy --device cpu >said 2>&1 && "$duet" embed "$@" -o there.npy --device cuda >>said 2>&1 &&
        perl -e 'sub numbers { open my $f, "<:raw", $_[0] or die; local $/; my $d = <$f>; unpack "f<*", substr $d, 10 + unpack "v", substr $d, 8, 2 }
                 my @a = numbers("here.npy"); my @b = numbers("there.npy");
                 die @a . " and " . @b . " numbers\n" if @a != @b || @a < 160;
                 for (0 .. $#a) { die "number $_: $a[$_] and $b[$_]\n" unless abs($a[$_] - $b[$_]) <= $ARGV[0] }' $tolerance >>said 2>&1
    report "$what" $?
}
embeds "images" 1e-5 -w run --images ten.lmdb
embeds "captions" 1e-5 -w run --captions ten.lmdb
embeds "images, from a ModifiedResNet" 1e-5 -w resnet-cpu --images ten.lmdb

# agree NAME WORDS...: both devices print the same, but for times and the calibration, which has too many digits
agree() {
    what=$1
    shift
    rm -rf run/features
    "$duet" "$@" --device cpu 2>said | grep -v "computed in\|calibration" >here.txt
    rm -rf run/features
    "$duet" "$@" --device cuda 2>said | grep -v "computed in\|calibration" >there.txt
    [ -s here.txt ] && diff here.txt there.txt >said
    report "$what" $?
}
agree "zeroshot" zeroshot -w run ten.lmdb
agree "retrieve" retrieve -w run ten.lmdb
agree "probe" probe -w run ten.lmdb ten.lmdb --C 1
cat >suite.json <<'END'
{"name": "colours", "weights": "run", "sets": [{"name": "Ten", "data": "ten.lmdb", "tasks": ["zeroshot", "retrieval"]}]}
END
run "evaluate" 0 "^run  *Ten  *zeroshot  *top-1 accuracy" evaluate suite.json --device cuda --precision bf16
run "again in float32" 0 "^run  *Ten  *zeroshot  *top-1 accuracy" evaluate suite.json --device cuda -q
lacks "its table is of float32" "bf16"
run "whose results take no place of the others" 0 "zeroshot: done before" evaluate suite.json --device cuda --precision bf16
says "nor are they taken for them" "^computed in bf16$"
cp runs/suite-results.json said
[ "$(grep -c '"precision": "bf16"' said)" -eq 2 ] && [ "$(grep -c '"task"' said)" -eq 4 ]
report "and the results hold both" $?
run "evaluate is quiet" 0 "^run  *Ten" evaluate suite.json --device cuda -q
lacks "of the device, too" "device"
run "zeroshot in bf16" 0 '"note": "[^"]*in bf16"' zeroshot -w run ten.lmdb --json --device cuda --precision bf16
run "a table says so" 0 "^computed in bf16$" zeroshot -w run ten.lmdb --device cuda --precision bf16 --quiet
run "that of retrieval" 0 "^computed in bf16$" retrieve -w run ten.lmdb --device cuda --precision bf16
run "that of the probe" 0 "^computed in bf16$" probe -w run ten.lmdb ten.lmdb --C 1 --device cuda --precision bf16
run "says so in the whole, too" 0 '"precision": "bf16"' zeroshot -w run ten.lmdb --json --device cuda --precision bf16

# ---- Fine-tuning ----

tune="finetune -w run --train ten.lmdb --validation ten.lmdb --epochs 1 --set batch_size=5 --set log_every=1"
both tuned $tune --head new
both some $tune --head new --layers 1 --set layer_decay=0.7 --set mixup=0.2
run "classify" 0 "airplane" classify -w tuned-cpu ten.lmdb --device cuda

# ---- Generating ----

cat >vae.json <<'END'
{"model": {"vision_cfg": {"tower": "vae", "image_size": 16, "channels": 3, "network": "conv", "widths": [8, 12], "latent": 4,
                          "likelihood": "logistic", "scale": "learned"}},
 "data": {"train": "ten.lmdb", "test": "ten.lmdb", "threads": 1}, "batch_size": 5, "epochs": 2, "log_every": 1,
 "checkpoint": {"every": 2, "keep": 9}, "objective": {"kind": "elbo", "beta": 1, "warmup": 0.1, "free_bits": 0.05},
 "evaluate": {"bound_samples": 4}}
END
sed 's/"latent": 4/&, "codes": 16/; s/"objective": {[^}]*}, *//; s/"logistic", "scale": "learned"/"gaussian", "scale": 1/' vae.json >codes.json
sed 's/"objective": {[^}]*}/"objective": {"kind": "iwae", "samples": 3}/; s/"conv", "widths": \[8, 12\]/"mlp", "widths": [16]/
     s/"logistic", "scale": "learned"/"bernoulli"/; s/"channels": 3/"channels": 1/; s/"data"/"binarise": true, &/' vae.json >iwae.json
both vae vae vae.json
both codes vae codes.json
both iwae vae iwae.json
run "what is not finite is named by its kernel" 1 "it began here: .* (in .*coder.* gave -*\(inf\|nan\) at " vae vae.json --out inf \
    --set optimizer.kind=sgd --set optimizer.clip_norm=0 --set optimizer.lr=1000

cat >gan.json <<'END'
{"model": {"vision_cfg": {"tower": "gan", "network": "dcgan", "image_size": 16, "channels": 3, "latent": 8, "width": 8,
                          "discriminator_norm": "spectral", "condition": {"kind": "class"}}},
 "data": {"train": "ten.lmdb", "threads": 1}, "batch_size": 5, "steps": 2, "log_every": 1, "checkpoint": {"every": 1, "keep": 9},
 "pictures": {"every": 2, "count": 4}}
END
sed 's/"discriminator_norm": "spectral", "condition": {"kind": "class"}/"discriminator_norm": "none"/; s/"dcgan"/"residual"/' gan.json >penalty.json
both r1 gan gan.json --set objective.penalty=r1
run "a residual pair with WGAN-GP on the CPU" 0 "done" gan penalty.json --out gp-cpu --device cpu --set objective.loss=wasserstein \
    --set objective.penalty=wgan_gp
run "and on the device" 0 "done" gan penalty.json --out gp --set objective.loss=wasserstein --set objective.penalty=wgan_gp
near "the same numbers" gp-cpu gp 1e-3 '\w+'
cp -r r1-fp32 drawn-on
cut drawn-on
run "a pair resumes" 0 "resumes after step 1 of 2" gan gan.json --set objective.penalty=r1 --out drawn-on
same "to the same bits, the average of the generator too" r1-fp32 drawn-on
run "draws" 0 "cats.png: 4 pictures; by rows: cat" gan -w r1-fp32 --class cat --count 4 --out cats.png
run "draws quietly" 0 "cats.png: 4 pictures" gan -w r1-fp32 --class cat --count 4 --out cats.png --device cuda -q
lacks "of the device" "device"
run "draws many" 0 "drawn: 20 pictures" gan -w r1-fp32 --count 20 --out drawn
for device in cpu cuda; do
    rm -rf run/features
    run "measures them on $device" 0 "^recall" distance -w run ten.lmdb drawn --device $device
    sed -n 's/^Frechet distance *//p' said >>distances
done
perl -e 'my ($a, $b) = <>; print "$a$b"; exit !($a > 0 && abs($a - $b) <= 1e-4 * $a)' distances >said 2>&1
report "and finds the same distance" $?

# ---- Faults ----

# A device with little memory, and one that is lost when the file GONE is there.
cat >small.cc <<'END'
#include "tests/cudasim/control.h"
#include <stdlib.h>
__attribute__((constructor)) static void limit() { cudasim_set_memory(strtoull(getenv("LIMIT"), nullptr, 10)); }
END
cat >lost.c <<'END'
#include "kernels/backend.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static const dt_backend *device;
static int lost(void) { return !access(getenv("GONE"), F_OK); }
static const char *finish(void) { const char *message = device->finish(); return lost() ? "CUDA: the GPU is lost" : message; }
static void read_back(void *to, const void *from, size_t bytes) { lost() ? (void)memset(to, 0x11, bytes) : device->read(to, from, bytes); }
const dt_backend *dt_cuda(char *message)
{
    static dt_backend table;
    dt_cuda_entry *entry;
    *(void **)&entry = dlsym(dlopen(getenv("SIMULATOR"), RTLD_NOW), "dt_cuda");
    if ((device = entry(message)))
        table = *device, table.finish = finish, table.read = read_back;
    return device ? &table : NULL;
}
END
export SIMULATOR="$simulator" LIMIT GONE
link="-shared -fPIC -I$root -Wl,--no-as-needed"
if ! ${CXX:-c++} $link -o small.so small.cc "$simulator" 2>said || ! ${CC:-cc} $link -o lost.so lost.c "$simulator" -ldl 2>said; then
    skip "a device that fails" "no compiler to make one"
    finish
    exit
fi
DUET_CUDA=$work/small.so LIMIT=1000000
set -- pretrain vit.json --set data.train=forty.lmdb
run "no memory: what is needed, what there is" 1 \
    "no memory for [0-9.]* MiB of intermediate results beside [0-9.]* MiB of inputs: [0-9.]* of the device's 1.0 MiB are free; a batch of about" \
    "$@" --set batch_size=40 --out large
fits=$(sed -n 's/.*a batch of about \([0-9]*\) instead of 40 would fit.*/\1/p' said)
run "a batch that fits (${fits:-none})" 0 "done: fits" "$@" --set "batch_size=${fits:-0}" --out fits
run "of a GAN's two networks the one is named" 1 "of the steps of both networks, the [a-z]*tor's alone: .*no memory for .* MiB of intermediate" \
    gan gan.json --set data.train=forty.lmdb --set batch_size=40 --out none
LIMIT=200000
run "no memory for what does not depend on the batch" 1 "no memory for the optimizer: [0-9]* parameters, .* the device has 0.2 MiB" \
    vae vae.json --out none
LIMIT=1000
run "nor for the device itself" 1 "cuda: CUDA, opening the GPU: out of memory" vae vae.json --out none --device cuda
DUET_CUDA=$work/lost.so GONE=$work
run "a kernel that fails is named" 1 "step 1: [a-z_0-9, ]*\( (in [a-z_0-9.]*)\)*: CUDA: the GPU is lost; there was no checkpoint yet$" pretrain vit.json --out gone
GONE=$work/gone/checkpoints/step-00000004.safetensors
run "a device that vanishes" 1 "duet pretrain: step 5: CUDA: the GPU is lost; the checkpoint of step 4 is whole$" pretrain vit.json --out gone
DUET_CUDA=$simulator
run "another one goes on from there" 0 "resumes after step 4 of 6" pretrain vit.json --out gone
same "as if nothing had been" vit-fp32 gone
finish
