#!/bin/sh
# duet gan: trains on points and pictures, shows, resumes to the bit, draws by class and by text, and says what is wrong.
. tests/cli.sh
. "$root"/tests/ten.sh

cat >ring.json <<'END'
{"model": {"vision_cfg": {"tower": "gan", "network": "mlp", "channels": 2, "latent": 4, "width": 32, "layers": 2}},
 "ring": {"modes": 8, "radius": 2, "deviation": 0.2}, "batch_size": 64, "steps": 1500,
 "objective": {"penalty": "r1", "penalty_weight": 0.5}, "generator": {"lr": 0.002}, "discriminator": {"lr": 0.002},
 "pictures": {"every": 500}}
END
run "a ring of Gaussians under R1" 0 "of 8 modes covered" gan ring.json --out ring
modes=$(grep -o '[0-9] of 8 modes' said | cut -c1)
[ "$modes" -ge 6 ]
report "most of its modes are covered" $?
head -c 4 ring/samples.png | od -An -c | grep -q 'P   N   G'
report "and its points are drawn" $?
for loss in minimax hinge least_squares wasserstein; do
    run "$loss, five updates of the discriminator for one of the generator" 0 "modes covered" gan ring.json --out ring-$loss \
        --set objective.loss=$loss --set objective.critic_steps=5 --set objective.penalty=wgan_gp --set steps=25
done

cat >gan.json <<'END'
{"model": {"vision_cfg": {"tower": "gan", "network": "dcgan", "image_size": 16, "channels": 3, "latent": 8, "width": 8,
                          "discriminator_norm": "batch"}},
 "data": {"train": "ten.lmdb", "threads": 1}, "batch_size": 5, "steps": 60, "log_every": 1, "checkpoint": {"every": 7},
 "pictures": {"every": 20, "count": 16}}
END
sed 's/"discriminator_norm": "batch"/&, "condition": {"kind": "class"}/' gan.json >class.json
sed 's/"class"/"vector"/; s/"steps": 60/"steps": 20, "text": {"weights": "run"}/' class.json >text.json
run "pictures by class" 0 "done: whole" gan class.json --out whole --set objective.critic_steps=2
for what in d_loss g_loss real_logit fake_logit d_grad_norm g_grad_norm dead_units; do
    grep -q "\"$what\": [-0-9]" whole/log.jsonl
    report "$what is in the log" $?
done
kill_at_checkpoints killed 5 gan class.json --out killed --set objective.critic_steps=2
[ $kills -ge 2 ] && [ $resumed -ge 1 ]
report "killed $kills times at a checkpoint, it resumed $resumed times" $?
run "and then ends" 0 "done: killed" gan class.json --out killed --set objective.critic_steps=2
cmp whole/model.safetensors killed/model.safetensors >said 2>&1
report "with the same generator, bit for bit" $?
steps_of whole/log.jsonl >whole.steps
steps_of killed/log.jsonl >killed.steps
diff whole.steps killed.steps >said
report "and the same log, step by step" $?
cmp whole/samples.png killed/samples.png >said 2>&1
report "and the same pictures" $?

run "draws a class" 0 "sheet.png: 8 pictures; by rows: cat" gan -w whole --class cat --out sheet.png
run "draws all classes into folders" 0 "drawn: 20 pictures" gan -w whole --count 20 --out drawn
[ "$(find drawn -name '*.png' | wc -l)" -eq 20 ] && [ -d drawn/cat ]
report "a file a picture" $?
run "which are data to measure" 0 "Fr.chet" distance -w run ten.lmdb drawn
run "drawing into a folder that holds something" 1 "is not empty" gan -w whole --count 20 --out drawn
run "a class that there is not" 1 "no class 'cta'; did you mean cat?" gan -w whole --class cta --out sheet.png
run "a prompt where none is read" 1 "is not conditioned on text; choose with --class" gan -w whole --prompt "a cat" --out sheet.png
run "the discriminator is an image tower for the probe" 0 "ten" probe -w whole ten.lmdb ten.lmdb --C 1

run "pictures by text" 0 "done: text" gan text.json --out text
run "pictures by text are measured for the captions of the data" 0 "20 pictures against 10 of ten.lmdb" gan text.json --out text2 \
    --set steps=2 --set measure.weights=run --set measure.count=20
run "draws a prompt" 0 "ship.png: 4 pictures; by rows: a photo of a ship" gan -w text --prompt "a photo of a ship" --count 4 \
    --out ship.png
cp -r run other
"$duet" pretrain config.json --out other2 --set steps=2 >said 2>&1
run "another model's text tower is refused" 1 "is not the model whose text tower" gan -w text --text-weights other2 \
    --prompt "a photo of a ship" --out ship.png
run "the same one in another place is not" 0 "ship.png" gan -w text --text-weights other --prompt "a photo of a ship" --out ship.png
run "a residual pair with spectral normalisation, measured" 0 "Frechet distance" gan gan.json --out residual --set steps=4 \
    --set model.vision_cfg.network=residual --set model.vision_cfg.discriminator_norm=spectral --set objective.loss=hinge \
    --set measure.weights=run --set measure.count=20

sed 's/, "text": {"weights": "run"}//' text.json >notext.json
run "a penalty where batch norm mixes samples" 1 "batch norm in the discriminator" gan gan.json --out bad --set objective.penalty=r1
run "R1 on pictures with classes" 0 "done: r1" gan class.json --out r1 --set model.vision_cfg.discriminator_norm=spectral \
    --set objective.penalty=r1 --set steps=5
run "a classifier without classes" 1 "not conditioned on classes" gan gan.json --out bad --set measure.classifier=run
run "training options for drawing" 2 "for training" gan -w whole --restart
run "a class twice" 1 "given twice" gan -w whole --class cat --class cat --out twice
run "words for classes" 1 "whole is not conditioned on text; it draws without --text-weights" gan -w whole --text-weights run
run "a sheet that is no PNG" 1 "sheets are written as PNG" gan -w whole --out sheet.jpg
run "a classifier of points" 1 "points of the plane" finetune -w ring --head new --train ten.lmdb --validation ten.lmdb --out bad --set batch_size=4
run "nothing to do" 2 "expected a CONFIG.json" gan
run "text without its tower" 1 "text.weights does not say" gan notext.json --out bad
run "a size that the network cannot make" 1 "image size of 20 cannot be made" gan gan.json --out bad --set model.vision_cfg.image_size=20
run "a latent of 0" 1 "vision_cfg.latent" gan gan.json --out bad --set model.vision_cfg.latent=0
run "points without a ring" 1 'give "ring"' gan gan.json --out bad \
    --set 'model={"vision_cfg":{"tower":"gan","network":"mlp","channels":2,"latent":4,"width":32}}'
for file in "$root"/tests/golden/image/rgb_*.jpg; do echo "$file,a picture"; done | sed '1i path,caption' >plain.csv
"$duet" pack -o plain.lmdb plain.csv >said 2>&1
sed 's/ten.lmdb/plain.lmdb/; s/"batch_size": 5/"batch_size": 2/' class.json >plain.json
run "classes of data that has none" 1 "the data has no classes" gan plain.json --out bad
run "a training that diverges says where" 1 "is not finite; it began here: .*there was no checkpoint yet" gan ring.json --out nan \
    --set objective.loss=wasserstein --set objective.penalty=none --set discriminator.lr=1000 --set discriminator.kind=sgd \
    --set generator.lr=1000 --set generator.kind=sgd
for words in "--class 3" "--count 4" "--seed 1" "--prompt cat" "--text-weights run"; do
    run "no ${words% *} in a training" 2 "are for drawing with --weights" gan absent.json $words
done
finish
