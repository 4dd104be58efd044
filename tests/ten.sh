# Ten colours with the names of the CIFAR-10 classes, and a tiny model that has learnt them, for the tests of what models are
# used for. After tests/cli.sh; makes ten.bin, ten.lmdb, tokenizer.json, config.json and the run `run`.
. "$root/tests/colours.sh"
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
