#!/bin/sh
# duet bench: measures two towers, a VAE's training and a GAN's, without any data, and refuses what does not go together.
. tests/cli.sh

cat >vae.json <<'END'
{"model": {"vision_cfg": {"tower": "vae", "image_size": 8, "channels": 1, "network": "mlp", "widths": [16], "latent": 4,
                          "likelihood": "bernoulli"}},
 "data": {"train": "absent.lmdb"}, "binarise": true, "batch_size": 10, "steps": 5}
END
cat >conv.json <<'END'
{"model": {"vision_cfg": {"tower": "vae", "image_size": 8, "network": "conv", "widths": [8, 8], "latent": 4,
                          "likelihood": "logistic", "scale": "learned"}},
 "data": {"train": "absent.lmdb"}, "batch_size": 10, "steps": 5, "objective": {"kind": "iwae", "samples": 3}}
END
cat >gan.json <<'END'
{"model": {"vision_cfg": {"tower": "gan", "network": "dcgan", "image_size": 8, "channels": 1, "latent": 4, "width": 4,
                          "discriminator_norm": "spectral", "condition": {"kind": "class"}}},
 "data": {"train": "absent.lmdb"}, "batch_size": 6, "steps": 5, "objective": {"critic_steps": 2}}
END
cat >ring.json <<'END'
{"model": {"vision_cfg": {"tower": "gan", "network": "mlp", "channels": 2, "latent": 4, "width": 8, "layers": 2}},
 "ring": {"modes": 8}, "batch_size": 16, "steps": 5, "objective": {"penalty": "wgan_gp"}}
END
cat >model.json <<'END'
{"embed_dim": 8, "vision_cfg": {"image_size": 16, "width": 16, "layers": 1, "patch_size": 8, "head_width": 8},
 "text_cfg": {"context_length": 8, "width": 16, "heads": 2, "layers": 1}}
END

run "a VAE's step, with the configuration's batch" 0 "vae.json, batch 10, " bench --vae vae.json -n 2
says "the machine's own rate, and in what" "matrix product rate  *[0-9.]* GFLOP/s  *in fp32$"
says "images a second and ms a step" " [1-9][0-9.]* images/s  [0-9.]* ms a step (processors: [0-9.]*)"
says "its share of the product rate" "[0-9] GFLOP/s  *[0-9.]* % of the product rate"
says "planned memory" "planned memory  *[0-9.]* MiB"
says "and resident memory" "peak resident memory  *[1-9][0-9.]* MiB"
! grep -q "kernels" said
report "ops are listed on request only" $?
run "where the time goes" 0 "autoencoder, [0-9]* kernels, " bench --vae vae.json -n 2 --ops --batch-size 200
says "the batch of the command line" "vae.json, batch 200, "
says "by op" "^  [a-z0-9_ ]* [0-9.]* ms  *[0-9.]* %  *[0-9]* GFLOP/s"
says "and outside the plan" "outside the plan, .* ms"
run "a convolutional one with importance samples" 0 "images/s" bench --vae conv.json -n 1

run "JSON" 0 '"kind": "vae"' bench --vae vae.json -n 1 --json --ops
says "counts the parameters" '"parameters": 2344,' # 65 of 16, 17 of 4 twice; 5 of 16, 17 of 64
says "holds the configuration in force" '"bound_samples": 100'
says "and the ops" '"op": "linear"'
cp said printed.json
run "and it is an object, as the reader of configurations finds" 1 "printed.json: kind: unknown key" bench --vae printed.json

run "a GAN's step, both networks" 0 "generator, [0-9]* kernels, " bench --gan gan.json -n 2 --ops
says "the discriminator's plan" "^discriminator, [0-9]* kernels, "
says "of several updates" "a step  *2 updates of the discriminator, one of the generator"
says "and outside of both" "outside the plans, "
run "classes without data are ten" 0 '"classes": 10' bench --gan gan.json -n 1 --json
says "both plans are told" '"name": "generator"'
sed 's/"kind": "class"/&, "classes": 3/' gan.json >three.json
run "unless the file says how many" 0 '"classes": 3' bench --gan three.json -n 1 --json
sed 's/"class"/"vector"/' gan.json >vector.json
run "vectors without a text tower have 512 numbers" 0 '"width": 512' bench --gan vector.json -n 1 --json
run "points of the plane, with a penalty" 0 "images/s" bench --gan ring.json -n 1

run "two towers" 0 "pairs/s" bench --model model.json -b 4 -n 1 --ops
says "and their ops" "^  [a-z0-9_ ]* [0-9.]* ms  *[0-9.]* %  *[0-9]* GFLOP/s"
run "two towers in JSON" 0 '"train_pairs_per_second"' bench --model model.json -b 4 -n 1 --json
says "beside the machine's rate of products, whatever its precision" '"product_flops": '
says "and their share of it" '"train_share_of_product": '

run "one kind at a time" 2 "one of the two" bench --vae vae.json --gan gan.json
for wrong in "--model ViT-B-32" "--chunk-size 2" "--vocabulary 100" "--decode ."; do
    run "no ${wrong% *} with a VAE" 2 "go with --batch-size, --steps, --ops and --json alone" bench --vae vae.json $wrong
done
run "no step to time" 2 "-n: 0 is out of range" bench --vae vae.json -n 0
run "a batch of one" 2 "-b: 1 is out of range" bench --gan gan.json -b 1
run "a batch that is not made of chunks" 2 "not a multiple of --chunk-size" bench --model model.json -b 4 -c 3
run "no folder to decode, told at once" 1 "nowhere: cannot list" bench --model model.json -b 4 --decode nowhere
run "a configuration is no model" 1 "vae.json: expected a model.s description" bench --model vae.json
run "no such file" 1 "cannot open absent.json" bench --vae absent.json
run "keys of the other kind" 1 "vae.json: binarise: unknown key" bench --gan vae.json
sed 's/"binarise": true, //' vae.json >plain.json
run "a VAE for a GAN" 1 'plain.json: model: vision_cfg.tower: expected "gan"' bench --gan plain.json
sed 's/"image_size": 8/"image_size": 20/' gan.json >size.json
run "a network that cannot be made" 1 "image size of 20 cannot be made" bench --gan size.json
finish
