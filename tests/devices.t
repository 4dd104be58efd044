#!/bin/sh
# Which device commands take: duet devices, --device, --precision, and what is said where there is no GPU to use. Drivers and
# libraries that answer in every possible way are made here, a few lines of C each.
. tests/cli.sh

unset DUET_CUDA CUDA_VISIBLE_DEVICES
cat >vae.json <<'END'
{"model": {"vision_cfg": {"tower": "vae", "image_size": 8, "channels": 1, "network": "mlp", "widths": [16], "latent": 4,
                          "likelihood": "bernoulli"}},
 "data": {"train": "absent.lmdb"}, "binarise": true, "batch_size": 10, "steps": 5}
END

# ---- The CPU, and what is not there ----

run "the CPU on request" 0 "^device: cpu (as --device says)$" bench --vae vae.json -n 1 --device cpu
run "of no other precision" 1 "precision bf16 is for a GPU, and the device is the CPU" bench --vae vae.json -n 1 --device cpu --precision bf16
run "float32 may be said" 0 "images/s" bench --vae vae.json -n 1 --device cpu --precision fp32
run "no such device" 2 "device: expected one of auto|cpu|cuda, found 'gpu'" bench --vae vae.json --device gpu
run "no such precision" 2 "precision: expected one of fp32|tf32|bf16, found 'fp16'" bench --vae vae.json --precision fp16
for command in pretrain finetune vae gan probe zeroshot classify retrieve evaluate distance embed bench; do
    run "duet $command has both options" 0 "--device auto|cpu|cuda" $command --help
    says "of which --precision is one" "--precision fp32|tf32|bf16"
done
run "features that are there need no device" 2 "features has done that" probe --features --device cpu a b
run "nor a precision" 2 "features has done that" distance --features --precision bf16 a b

program=$duet
cp "$program" alone
duet=$work/alone # with nothing beside it
run "no library: cuda says where it was looked for" 1 "cuda: libduet_cuda.so is not beside the program; looked for $work/libduet_cuda.so" bench --vae vae.json --device cuda
[ "$(wc -l <said)" -eq 1 ]
report "in one line" $?
run "auto takes the CPU, and says why" 0 "^device: cpu (libduet_cuda.so is not beside the program)$" bench --vae vae.json -n 1 --device auto
run "as it does unasked" 0 "^device: cpu (libduet" bench --vae vae.json -n 1
"$duet" bench --vae vae.json -n 1 --json >printed 2>said
grep -q '"device": "cpu"' printed && grep -q '"precision": "fp32"' printed && [ ! -s said ]
report "JSON has it inside, and nothing beside" $?
run "a GPU's precision says why there is no GPU" 1 "bf16 is for a GPU, .* (libduet_cuda.so is not beside the program)" bench --vae vae.json --precision bf16
mkdir elsewhere
ln -s ../alone elsewhere/linked
duet=$work/elsewhere/linked
run "it is looked for beside the file that a link leads to" 1 "for $work/libduet_cuda.so" bench --vae vae.json --device cuda
duet=$work/alone

export DUET_CUDA=nowhere.so
for device in cuda auto; do
    run "a file that is not there, $device" 1 "^duet bench: ./nowhere.so, which DUET_CUDA names, is not there; --device cpu does without$" \
        bench --vae vae.json --device $device
done
run "nor unasked is the CPU taken in its place" 1 "^duet bench: ./nowhere.so, which DUET_CUDA names" bench --vae vae.json
run "unless the CPU is asked for" 0 "^device: cpu (as" bench --vae vae.json -n 1 --device cpu
DUET_CUDA=vae.json
for device in cuda auto; do
    run "one that is no library, $device" 1 "^duet bench: ./vae.json cannot be loaded: .*; --device cpu does without$" bench --vae vae.json --device $device
done
run "devices lists the processor" 0 "^cpu   .*, [1-9][0-9]* processor" devices
says "and why there is no GPU" "^cuda  not used: ./vae.json cannot be loaded: "
says "and what that comes to" "^--device auto takes none while DUET_CUDA names what cannot be used$"
run "devices takes no words" 2 "unexpected argument" devices all
"$duet" devices --json >devices.json 2>said
grep -q '"auto": null' devices.json && grep -q '"used": false' devices.json && grep -q '"why": "./vae.json cannot' devices.json
report "devices in JSON" $?
unset DUET_CUDA
run "JSON has the text's hint" 0 "\"hint\": \"looked for $work/libduet_cuda.so, which make builds" devices --json

# ---- Drivers ----

cat >driver.c <<'END'
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int number) { *device = 10 + number; return 0; }
int cuDeviceGetName(char *name, int room, int device) { strcpy(name, "Imaginary 9000"); return 0; }
#ifndef OLD
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return 0; }
#endif
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? MAJOR : which == 76 ? 9 : -1; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 803 ? "driver and library do not match" : 0; return !*text; }
END
# A library that works computes with the program's own kernels.
cat >library.c <<'END'
#include "kernels/backend.h"
#include <stdio.h>
#include <string.h>
extern const size_t dt_cpu_contract[];
size_t dt_gone(int i);
size_t dt_cuda_contract[64];
__attribute__((constructor)) static void agree(void)
{
    for (int i = 0; dt_cpu_contract[i]; i++)
        dt_cuda_contract[i] = dt_cpu_contract[i] + DIFFERENCE;
}
const dt_backend *dt_cuda(char *message)
{
    static dt_backend backend;
    backend = *dt_cpu();
    backend.name = "cuda";
    backend.narrow = NULL;
    strcpy(message, ANSWER);
    return *message ? NULL : &backend;
}
END
# driver NAME FLAGS...: drivers/NAME/libcuda.so.1. library NAME FLAGS...: NAME.so
driver() {
    mkdir -p "drivers/$1" && into=drivers/$1/libcuda.so.1
    shift
    ${CC:-cc} -shared -fPIC "$@" -o "$into" driver.c 2>>compiled
}
library() {
    into=$1.so
    shift
    ${CC:-cc} -shared -fPIC -I"$root" "$@" -o "$into" library.c 2>>compiled
}
with_driver() {
    export LD_LIBRARY_PATH="$work/drivers/$1"
}
if ! driver good -DINIT=0 -DCOUNT=2 -DMAJOR=8 || ! library good '-DANSWER=""' -DDIFFERENCE=0; then
    skip "drivers and libraries of all kinds" "no C compiler to make them with"
    finish
    exit
fi
driver mismatched -DINIT=803 -DCOUNT=0 -DMAJOR=0
driver nameless -DINIT=999 -DCOUNT=0 -DMAJOR=0
driver alone -DINIT=100 -DCOUNT=0 -DMAJOR=0
driver hidden -DINIT=0 -DCOUNT=0 -DMAJOR=0
driver small -DINIT=0 -DCOUNT=2 -DMAJOR=7
driver old -DOLD -DINIT=0 -DCOUNT=1 -DMAJOR=8
library refusing '-DANSWER="CUDA, looking for GPUs: the driver is too old"' -DDIFFERENCE=0
library moved '-DANSWER=""' -DDIFFERENCE='(i == 4 ? 8 : 0)'
library reworded '-DANSWER=""' -DDIFFERENCE='!i'
library older '-DANSWER=""' -DDIFFERENCE='dt_gone(i)' # the program has lost what it wants
${CC:-cc} -shared -fPIC -o other.so -x c - </dev/null

cp good.so libduet_cuda.so
unset DUET_CUDA
if [ -e /sys/module/nvidia ] || ldconfig -p 2>/dev/null | grep -q libcuda.so.1; then
    skip "no driver" "this machine has one"
else
    run "no driver" 1 "cuda: there is no NVIDIA driver: libcuda.so.1 is not found" bench --vae vae.json --device cuda
fi
try() { # NAME DRIVER PATTERN: what --device cuda says, in one line
    with_driver "$2"
    run "$1" 1 "^duet bench: --device cuda: $3" bench --vae vae.json -n 1 --device cuda
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
try "a driver that does not fit" mismatched "the NVIDIA driver does not answer: driver and library do not match (803)$"
try "an error without a text" nameless "the NVIDIA driver does not answer: an error without a name (999)$"
try "a driver without a GPU" alone "the NVIDIA driver lists no GPU$"
export CUDA_VISIBLE_DEVICES=7
try "GPUs that are hidden" hidden "the NVIDIA driver lists no GPU; CUDA_VISIBLE_DEVICES is 7$"
unset CUDA_VISIBLE_DEVICES
try "a GPU that is too old" small "Imaginary 9000 has compute capability 7.9; the kernels are for 8.0 and above; CUDA_VISIBLE"
try "a driver that is too old to be asked" old "the NVIDIA driver is too old: its libcuda.so.1 has no cuDeviceTotalMem_v2$"
run "auto computes on the CPU then" 0 "^device: cpu (the NVIDIA driver is too old" bench --vae vae.json -n 1
with_driver small
run "devices lists what cannot be used" 0 "^cuda  Imaginary 9000, 24.0 GiB, compute capability 7.9$" devices
says "and the driver's CUDA" "CUDA up to 12.4$"
says "and why" "^cuda  not used: Imaginary 9000 has"

# ---- Libraries ----

export DUET_CUDA="$work/refusing.so"
try "a library that finds nothing" good "CUDA, looking for GPUs: the driver is too old (the driver knows CUDA up to 12.4)$"
for old in moved reworded older; do
    unset DUET_CUDA
    cp $old.so libduet_cuda.so
    try "an old library ($old)" good "$work/libduet_cuda.so was built from other sources than this program; \"make cuda\" builds it anew$"
    run "is no reason to stop ($old)" 0 "^device: cpu ($work/libduet_cuda.so was built from other sources" bench --vae vae.json -n 1
    export DUET_CUDA="$work/$old.so"
    run "unless it is named ($old)" 1 "^duet bench: $work/$old.so was built from other sources than this program; .make cuda" bench --vae vae.json -n 1
done
DUET_CUDA=$work/other.so
run "another library" 1 "^duet bench: $work/other.so is no CUDA backend of duet: it has no dt_cuda; --device cpu does without$" bench --vae vae.json -n 1
made=$(dirname "$program")/cpu_families.c
if [ -e "$made" ]; then
    sum=$(cd "$root" && LC_ALL=C && cat $(ls kernels/*.h kernels/ops/*.h | LC_ALL=C sort) | cksum | cut -d' ' -f1)
    grep -q "_contract\[\] = {1$sum," "$made"
    report "sources are told apart by what their headers say" $?
else
    skip "sources are told apart by what their headers say" "$made is not there"
fi

cp good.so libduet_cuda.so
unset DUET_CUDA
run "a GPU that answers is taken" 0 "^device: cuda (Imaginary 9000, fp32)$" bench --vae vae.json -n 1
run "unless the CPU is asked for" 0 "^device: cpu (as --device says)$" bench --vae vae.json -n 1 --device cpu
run "in tf32" 0 '"precision": "tf32"' bench --vae vae.json -n 1 --json --precision tf32
run "bf16 where the library has none" 1 "bf16: $work/libduet_cuda.so has no bfloat16" bench --vae vae.json -n 1 --precision bf16
run "devices lists it" 0 "^cuda  Imaginary 9000, 24.0 GiB, compute capability 8.9$" devices
lacks "with nothing against it" "not used"
says "and which it is" "^--device auto takes cuda, the first GPU; "
run "in JSON too" 0 '"compute_capability": "8.9"' devices --json
says "with its memory" '"memory_bytes": 25769803776'
rm libduet_cuda.so
run "a GPU without the library is listed" 0 "^cuda  Imaginary 9000" devices
says "and not used" "^cuda  not used: libduet_cuda.so is not beside the program; looked for $work/libduet_cuda.so, which make builds"
cp good.so libduet_cuda.so

# ---- A run ----

cat >tiny.json <<'END'
{"model": {"embed_dim": 16,
           "vision_cfg": {"tower": "residual", "image_size": 32, "widths": [8, 16], "blocks": [1, 1], "stem_stride": 2},
           "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 20}, "data": {"train": "pairs.lmdb", "threads": 1},
 "augment": {"mode": "random_resized_crop"}, "batch_size": 4, "steps": 6, "checkpoint": {"every": 2, "keep": 9}}
END
for i in 1 2 3 4 5 6 7 8; do
    printf '%s/rgb_%d.jpg,picture number %d of a set\n' "$work" $i $i
    cp "$(ls "$root"/tests/golden/image/rgb_*.jpg | head -1)" rgb_$i.jpg
done | sed '1i path,caption' >table.csv
run "packs" 0 "pairs" pack -o pairs.lmdb table.csv
run "what cannot start says so" 1 "batch_size is 99" pretrain tiny.json --out run --set batch_size=99
[ "$(wc -l <said)" -eq 1 ]
report "in one line, without the device" $?
run "a run" 0 "^device: cuda (Imaginary 9000, fp32)$" pretrain tiny.json --out run
tr -d ' \n' <run/config.json >said
says "config.json says what it was computed on" '"device":"cuda","gpu":"Imaginary9000","precision":"fp32"'
last() { # removes the last checkpoint, so that there is something to go on with
    rm "$(ls -d run/checkpoints/*.safetensors | tail -1)"
}
last
run "goes on with the same" 0 "resumes after step 4 of 6" pretrain tiny.json --out run
lacks "without a word" "ran on"
last
run "goes on with another device" 0 "^the steps before ran on cuda in fp32, the next run on cpu in fp32: " pretrain tiny.json --out run --device cpu
last
run "or another precision" 0 "^the steps before ran on cuda in fp32, the next run on cuda in tf32: " pretrain tiny.json --out run --precision tf32
sed 's/"device"/"was"/; s/"precision"/"in"/' run/config.json >old
cp old run/config.json
last
run "what has no device in it ran on the CPU" 0 "^the steps before ran on cpu in fp32, the next run on cuda in fp32: " pretrain tiny.json --out run
last
run "back to what it was before" 0 "^the steps before ran on cpu in fp32, the next run on cuda in tf32: " pretrain tiny.json --out run --precision tf32
tr -d ' \n' <run/config.json >said
says "config.json notes it" '"afterstep4":"cudaintf32"'
run "a run that is done says nothing of devices" 0 "done: run/model" pretrain tiny.json --out run --device cpu
lacks "neither now nor before" "ran on\|^device:"
run "config.json is a configuration as it is" 0 "done: again/model" pretrain run/config.json --out again --device cpu -q
lacks "nor does a quiet one" "^device:"
last
run "a quiet one warns of another device" 0 "^the steps before ran on cpu in fp32, the next run on cuda in tf32: " pretrain tiny.json --out run --precision tf32 -q
lacks "and says no more of it" "^device:"
run "short commands say that a GPU is taken" 0 "^device: cuda (Imaginary 9000, fp32)$" embed -w run -o e.npy --images pairs.lmdb
run "but not if they are to be quiet" 0 "8 images" embed -w run -o e.npy --images pairs.lmdb --device cuda -q
lacks "nor where --device is given" "device:"
for quiet in "distance --no-cache pairs.lmdb pairs.lmdb" "retrieve --no-cache pairs.lmdb" "zeroshot -r pairs.lmdb" \
    "classify --classes a,b pairs.lmdb"; do
    set -- $quiet
    run "quiet: $1" 0 "" "$@" -w run --quiet --device cuda
    lacks "quiet: $1 says nothing of the device" "device:"
done
rm libduet_cuda.so
run "and nothing of the CPU" 0 "8 images" embed -w run -o e.npy --images pairs.lmdb
lacks "which is a matter of course" "device:"
run "unless it was asked for" 0 "^device: cpu" embed -w run -o e.npy --images --device cpu pairs.lmdb
export DUET_CUDA="$work/good.so"
with_driver alone
run "or a library was, in vain" 0 "^device: cpu (the NVIDIA driver lists no GPU)$" embed -w run -o e.npy --images pairs.lmdb
with_driver good
unset DUET_CUDA

# Features of another precision are other features.
cp good.so libduet_cuda.so
run "features are kept" 0 "Frechet" distance -w run --precision tf32 pairs.lmdb pairs.lmdb
run "for the precision that they are of" 0 "Frechet" distance -w run pairs.lmdb pairs.lmdb
run "which both devices share" 0 "Frechet" distance -w run --device cpu pairs.lmdb pairs.lmdb
ls run/features >said
[ "$(wc -l <said)" -eq 2 ] && [ "$(grep -c -e '-features-tf32-' said)" -eq 1 ]
report "their files say so" $?

# ---- The simulator ----

unset LD_LIBRARY_PATH
rm libduet_cuda.so
duet=$program
simulator=$(dirname "$program")/libduet_cudasim.so
if [ -e "$work/other.so" ]; then
    export DUET_CUDA="$work/other.so"
    run "a library that is none of ours is told without a driver" 0 "is no CUDA backend of duet: it has no dt_cuda$" devices
fi
if [ -e "$simulator" ]; then
    export DUET_CUDA="$simulator"
    run "the simulator needs no driver" 0 "^cuda  the simulator of the tests, $simulator$" devices
    says "and is taken" "^--device auto takes cuda$"
    run "in JSON" 0 '"simulated": true' devices --json
else
    skip "the simulator" "$simulator is not built"
fi

# A shared object links with holes in it, which only opening shows: all that it takes from the program must be there.
library=$(dirname "$program")/libduet_cuda.so
if [ -e "$library" ] && command -v nm >/dev/null; then
    nm -D --defined-only "$program" | sed 's/.* //' | sort >there
    nm -D --undefined-only "$library" | sed -n 's/^ *U \(dt_[a-z_0-9]*\|_Z.*dt_.*\)$/\1/p' | sort >wanted
    comm -23 wanted there >missing
    [ -s wanted ] && [ ! -s missing ]
    report "libduet_cuda.so finds all that it wants ($(wc -l <wanted) names) in the program: $(tr '\n' ' ' <missing)" $?
else
    skip "what libduet_cuda.so wants" "$library is not built"
fi
finish
