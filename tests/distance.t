#!/bin/sh
# duet distance on the command line: colours against themselves, against other colours, against noise; files, findings, bad input.
. tests/cli.sh

plane() { # 1024 bytes of one value
    head -c 1024 /dev/zero | tr '\0' "\\$(printf %03o "$1")"
}

# CIFAR-10 records: a label, then a red, a green and a blue plane. Shades FROM to TO, each of ten labels.
colours() { # FROM TO
    for shade in $(seq "$1" "$2"); do
        for label in 0 1 2 3 4 5 6 7 8 9; do
            printf '%b' "\\0$(printf %o $label)"
            plane $((label % 3 * 110 + shade))
            plane $((label / 3 % 3 * 110 + shade))
            plane $((label / 9 * 180 + label % 2 * 50 + shade))
        done
    done
}
colours 1 4 >real.bin
colours 5 8 >near.bin
colours 20 23 >far.bin
cat >config.json <<'END'
{"model": {"embed_dim": 8,
           "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32},
           "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1}},
 "tokenizer": {"merges": 20}, "data": {"train": "real.lmdb"}, "augment": {"mode": "none", "flip": 0},
 "batch_size": 10, "steps": 2, "optimizer": {"lr": 0.001}}
END
for set in real near far; do
    "$duet" pack --template "a photo of a {}." -o $set.lmdb $set.bin >>said 2>&1
done
"$duet" pretrain config.json --out run >said 2>&1
report "a run to measure with" $?

run "a distance" 0 '^Frechet distance  *[0-9.e+-]*$' distance -w run real.lmdb near.lmdb
cp said near
grep -q '^real  *real.lmdb: 40 images$' near && grep -q '^generated  *near.lmdb: 40 images$' near &&
    grep -q '^features  *of run, 32 wide$' near && grep -q '^KID .* over 100 subsets of 20$' near &&
    grep -q '^CMMD .* brought to unit length$' near && grep -q '^precision .* %  k = 3$' near && grep -q '^recall .* %$' near
report "with counts, checkpoint and all figures" $?
grep -q '^duet distance: note: 40 real and 40 generated images are few for 32 features: .* biased upward$' near
report "few images are told" $?
[ "$(ls run/features/*.safetensors | wc -l)" -eq 2 ]
report "features are kept" $?
run "far colours" 0 '^precision  *0.00 %' distance -w run real.lmdb far.lmdb --no-cache
value() { # FIGURE FILE
    sed -n "s/^$1  *\\([0-9.e+-]*\\).*/\\1/p" "$2"
}
awk "BEGIN { exit !($(value 'Frechet distance' said) > 4 * $(value 'Frechet distance' near) &&
                    $(value CMMD said) > $(value CMMD near)) }"
report "are farther" $?
run "a set and itself" 0 '^precision  *100.00 %' distance -w run real.lmdb real.lmdb
grep -q '^recall  *100.00 %' said && awk "BEGIN { exit !($(value 'Frechet distance' said) < 1e-6) }"
report "are no distance apart" $?
run "embeddings" 0 '^embedding  *of run, 8 wide$' distance -w run real.lmdb near.lmdb --layer embedding
grep -q '^CMMD  *[0-9.e+-]*$' said
report "which CMMD is meant for" $?
run "some images" 0 '^real  *real.lmdb: 12 images$' distance -w run real.lmdb near.lmdb --count 12 --no-cache
cp said first
run "or kept features of these" 0 '^real  *real.lmdb: 12 images$' distance -w run real.lmdb near.lmdb --count 12
cmp first said >>said
report "are the same" $?
run "the first ones" 0 '^real  *real.lmdb: 12 images$' distance -w run real.lmdb near.lmdb --count 12 --first
! cmp -s first said
report "are others" $?
run "three images" 0 'precision and recall take k = 2 instead of 3' distance -w run real.lmdb near.lmdb --count 3

run "files of features" 0 '^features  *of files, 32 wide$' \
    distance --features run/features/real-features-* run/features/near-features-*
tail -n +5 near >one && tail -n +5 said >other && cmp one other >>said
report "give the same" $?
run "for the report" 0 '"key": "frechet"' distance -w run real.lmdb near.lmdb --json --name colours --out run/evaluation.json
cp run/evaluation.json said
grep -q '"name": "colours: Frechet distance"' said && grep -q '"key": "kid"' said && grep -q '"deviation"' said &&
    grep -q '"key": "cmmd"' said && grep -q '"key": "precision"' said && grep -q '"key": "recall"' said &&
    grep -q '40 real and 40 generated images; features of run' said
report "all figures" $?
run "which the report reads" 0 'report.html' report run
grep -q 'colours: Frechet distance' run/report.html
report "and shows" $?

# What is wrong is said in one line.
refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
"$duet" embed -w run near.lmdb --images --out embeddings.safetensors >said 2>&1
mkdir -p lone/cat empty
"$duet" pack --show 3 --jpeg lone/cat/0.jpg real.lmdb >said 2>&1
refused "no weights" 2 'give --weights RUN, or --features' distance real.lmdb near.lmdb
refused "one word" 2 'REAL GENERATED' distance -w run real.lmdb
refused "the first of all" 2 '--first needs --count' distance -w run real.lmdb near.lmdb --first
refused "a count of one" 2 'count' distance -w run real.lmdb near.lmdb --count 1
refused "no such data" 1 'nothing.lmdb' distance -w run real.lmdb nothing.lmdb
refused "an empty folder" 1 'there are no images in empty' distance -w run real.lmdb empty
refused "one image" 1 'lone: 1 image; a distance needs at least 2' distance -w run real.lmdb lone
refused "one real image" 1 'lone: 1 image; a distance needs at least 2' distance -w run lone real.lmdb
refused "features of different width" 1 'have 32 features each, the generated ones 8' \
    distance --features run/features/real-features-* embeddings.safetensors
refused "a file that is none" 1 'real.bin' distance --features real.bin embeddings.safetensors
finish
