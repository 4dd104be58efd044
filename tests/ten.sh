# Ten colours with the names of the CIFAR-10 classes, and a tiny model that has learnt them, for the tests of what models are
# used for. After tests/cli.sh; makes ten.bin, ten.lmdb, tokenizer.json, config.json and the run `run`.
plane() { # 1024 bytes of one value
    head -c 1024 /dev/zero | tr '\0' "\\$(printf %03o "$1")"
}

# CIFAR-10 records: a label, then a red, a green and a blue plane.
for label in 0 1 2 3 4 5 6 7 8 9; do
    printf '%b' "\\0$(printf %o $label)"
    plane $((label % 3 * 120))
    plane $((label / 3 % 3 * 120))
    plane $((label / 9 * 200 + label % 2 * 50))
done >ten.bin
cat >config.json <<'END'
{"model": {"embed_dim": 32,
           "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 32},
           "text_cfg": {"context_length": 16, "width": 64, "heads": 2, "layers": 1}},
 "tokenizer": "tokenizer.json", "data": {"train": "ten.lmdb"}, "augment": {"mode": "none", "flip": 0},
 "batch_size": 10, "steps": 100, "optimizer": {"lr": 0.002}}
END
"$duet" pack --template "a photo of a {}." -o ten.lmdb ten.bin >said 2>&1 &&
    "$duet" tokenizer train --merges 20 --out tokenizer.json ten.lmdb >said 2>&1 &&
    "$duet" pretrain config.json --out run >said 2>&1
report "a run to use" $?
