#!/bin/sh
# duet vae: trains, shows, resumes to the bit, serves as an image tower, and says what is wrong.
. tests/cli.sh
. "$root"/tests/ten.sh

cat >vae.json <<'END'
{"model": {"vision_cfg": {"tower": "vae", "image_size": 16, "channels": 3, "network": "mlp", "widths": [24],
                          "latent": 2, "likelihood": "bernoulli"}},
 "data": {"train": "ten.lmdb", "test": "ten.lmdb", "threads": 1}, "batch_size": 5, "steps": 300, "log_every": 10,
 "optimizer": {"lr": 0.003}, "checkpoint": {"every": 20}, "pictures": {"every": 100, "count": 8},
 "evaluate": {"every": 150, "bound_samples": 50}}
END
run "trains by a cross-entropy" 0 "test, 10 images: ELBO" vae vae.json --out grey --set steps=20
grep -q '"nll"\|bits_per_dim' grey/evaluation.json grey/log.jsonl
[ $? -eq 1 ]
report "which is no likelihood" $?
sed -i 's/"batch_size"/"binarise": true, "batch_size"/' vae.json
run "trains to a bound" 0 "importance samples" vae vae.json --out whole
for picture in samples reconstructions interpolation manifold; do
    head -c 4 whole/$picture.png | od -An -c | grep -q 'P   N   G'
    report "$picture.png is a picture" $?
done
ls whole/pictures >said
[ "$(grep -c samples said)" -eq 3 ]
report "the samples along the way stay" $?
[ "$(grep -o '"elbo": -[0-9.]*' whole/log.jsonl | head -1 | cut -d- -f2 | cut -d. -f1)" -gt \
  "$(grep -o '"elbo": -[0-9.]*' whole/log.jsonl | tail -1 | cut -d- -f2 | cut -d. -f1)" ]
report "the ELBO rose" $?
grep -q '"key": "nll"' whole/evaluation.json && grep -q 'What the model makes' whole/report.html
report "figures and pictures are in the report" $?

kill_at_checkpoints killed 5 vae vae.json --out killed
[ $kills -ge 2 ] && [ $resumed -ge 1 ]
report "killed $kills times at a checkpoint, it resumed $resumed times" $?
run "and then ends" 0 "done: killed" vae vae.json --out killed
cmp whole/model.safetensors killed/model.safetensors >said 2>&1
report "with the same parameters, bit for bit" $?
steps_of whole/log.jsonl >whole.steps
steps_of killed/log.jsonl >killed.steps
diff whole.steps killed.steps >said
report "and the same log, step by step" $?
cmp whole/evaluation.json killed/evaluation.json >said 2>&1
report "and the same figures" $?

run "the encoder is an image tower for the probe" 0 "ten" probe -w whole ten.lmdb ten.lmdb --C 1
run "the importance-weighted bound" 0 "importance samples" vae vae.json --out iwae --set objective.kind=iwae \
    --set objective.samples=4 --set steps=40 --set objective.warmup=0.5
grep -q '"bound": ' iwae/log.jsonl
report "is in the log" $?
run "starts from another run's parameters" 0 "importance samples" vae vae.json --out iwae2 --set weights=whole --set steps=1 \
    --set objective.kind=iwae --set optimizer.lr=0
cmp whole/reconstructions.png iwae2/reconstructions.png >said 2>&1
report "which are the same" $?
run "but not from another model's" 1 "weights: .*not part of this model" vae vae.json --out bad --set weights=run
run "free bits, and colour levels by a logistic likelihood" 0 "bits per dimension" vae vae.json --out conv --set steps=20 --set binarise=false \
    --set 'model={"vision_cfg":{"tower":"vae","image_size":16,"network":"conv","widths":[8,16],"latent":4,"likelihood":"logistic","scale":"learned"}}' \
    --set objective.free_bits=0.1
echo '{"vision_cfg": {"tower": "vae", "image_size": 16, "network": "conv", "widths": [8], "latent": 4, "likelihood": "logistic", "scale": 1}}' >model.json
run "a description from a file" 0 "bits per dimension" vae vae.json --out file --set steps=2 --set binarise=false --set model=model.json
run "a batch larger than the data" 1 "pictures; --set batch_size=[0-9]* takes them all" vae vae.json --out file2 --set batch_size=60000
run "a VQ-VAE" 0 "perplexity of the codes" vae vae.json --out codes --set steps=20 --set binarise=false \
    --set 'model={"vision_cfg":{"tower":"vae","image_size":16,"network":"conv","widths":[8,16],"latent":4,"likelihood":"gaussian","scale":0.1,"codes":16}}'
grep -q '"perplexity": ' codes/log.jsonl
report "logs the perplexity" $?
run "samples are measured in the space of a model" 0 "Frechet distance" vae vae.json --out whole2 --set steps=10 \
    --set measure.weights=run --set measure.count=20

run "what does not change the training may change when a run goes on" 0 "5 samples each" vae vae.json --out whole \
    --set evaluate.bound_samples=5 --set name=again
head -c 2000 whole/checkpoints/step-00000300.safetensors >torn && mv torn whole/checkpoints/step-00000300.safetensors
run "a damaged checkpoint" 1 "newest checkpoint is damaged (remove it" vae vae.json --out whole
run "bits by another likelihood" 1 "want the likelihood" vae vae.json --out bad --set binarise=true \
    --set 'model={"vision_cfg":{"tower":"vae","image_size":16,"network":"conv","widths":[8],"latent":4,"likelihood":"logistic","scale":0.1}}'
run "a latent of 0" 1 "vision_cfg.latent" vae vae.json --out bad --set model.vision_cfg.latent=0
run "a size that cannot be halved" 1 "vision_cfg" vae vae.json --out bad \
    --set 'model={"vision_cfg":{"tower":"vae","image_size":15,"network":"conv","widths":[8,16],"latent":4,"likelihood":"bernoulli"}}'
run "a likelihood without its scale" 1 "scale is missing" vae vae.json --out bad --set model.vision_cfg.likelihood=gaussian
run "another tower" 1 'expected "vae"' vae vae.json --out bad --set 'model={"vision_cfg":{"tower":"pixels","image_size":16}}'
run "epochs and steps" 1 "one of the two; found both" vae vae.json --out bad --set epochs=1
run "a batch larger than the data" 1 "only 10 pictures" vae vae.json --out bad --set batch_size=11
run "an unknown key" 1 "optimizer.rate" vae vae.json --out bad --set optimizer.rate=1
run "another configuration" 1 "optimizer.lr differs" vae vae.json --out whole --set optimizer.lr=1
run "a training that diverges says where" 1 "step [0-9]*: .* is not finite; it began here: .*; the checkpoint of step" \
    vae vae.json --out nan --set optimizer.lr=1000 --set optimizer.kind=sgd --set checkpoint.every=1
run "and stops there again" 1 "the checkpoint of step [0-9]* is whole" vae vae.json --out nan --set optimizer.lr=1000 \
    --set optimizer.kind=sgd --set checkpoint.every=1
run "a mistyped model to measure with is found before the training" 1 "measure: .*nowhere" vae vae.json --out bad \
    --set measure.weights=nowhere
run "an objective that a VQ-VAE has no use for" 1 "a VQ-VAE has no KL" vae vae.json --out bad --set binarise=false --set objective.free_bits=0.1 \
    --set 'model={"vision_cfg":{"tower":"vae","image_size":16,"network":"conv","widths":[8,16],"latent":4,"likelihood":"gaussian","scale":0.1,"codes":16}}'
finish
