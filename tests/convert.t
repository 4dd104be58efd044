#!/bin/sh
# duet convert and duet export: weights of others in and out.
. tests/cli.sh
fixtures=$root/tests/golden/convert
echo "a cat" >texts

# same NAME A B: whether two files are equal.
same() {
    cmp "$2" "$3" >said 2>&1
    report "$1" $?
}

run "a Hugging Face folder is read" 0 "images of 32 pixels, with its tokenizer" convert "$fixtures/hf-clip" own
run "what was written is a model of Duet's" 0 "1 texts, width 12" embed -w own --texts texts -o own.npy
run "as the folder is" 0 "1 texts, width 12" embed -w "$fixtures/hf-clip" --texts texts -o theirs.npy
same "and both say the same" own.npy theirs.npy
run "a file of its own" 0 "without a tokenizer" convert "$fixtures/openai-vit.pt" vit.safetensors
grep -q "QuickGELU were assumed" said
report "what was assumed is said" $?
run "for images of another size" 0 "images of 48 pixels" convert vit.safetensors larger --image-size 48
run "out to transformers" 0 "with its tokenizer" export --format hf own hf
[ -f hf/config.json ] && [ -f hf/model.safetensors ] && [ -f hf/preprocessor_config.json ] && [ -f hf/tokenizer_config.json ] &&
    [ -f hf/vocab.json ] && [ -f hf/merges.txt ] && [ -f hf/special_tokens_map.json ]
report "all files that it reads are there" $?
run "in again" 0 parameters convert hf again
same "a round trip keeps every bit" own/model.safetensors again/model.safetensors
run "out to open_clip" 0 parameters export -f open_clip vit.safetensors oc
run "and in again" 0 parameters convert oc/open_clip_model.safetensors vit2.safetensors

# With a description that is not the file's.
cat >other.json <<'END'
{"embed_dim": 12, "quick_gelu": true, "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2},
 "text_cfg": {"context_length": 16, "vocab_size": 520, "width": 32, "heads": 1, "layers": 1}}
END
run "another description: all differences" 1 "token_embedding.weight is \[520, 64\], expected \[520, 32\]" \
    convert "$fixtures/openai-vit.pt" bad.safetensors --config other.json
grep -q "visual.transformer.resblocks.\*.ln_1.weight is missing" said && [ ! -e bad.safetensors ]
report "missing tensors too, and nothing is written" $?
run "a preset" 1 "expected \[768, 3, 32, 32\]" convert "$fixtures/openai-vit.pt" bad --config ViT-B-32
run "no such preset" 1 "no model preset is called" convert "$fixtures/openai-vit.pt" bad --config ViT-X

# Folders that lack something.
mkdir no-weights
cp "$fixtures/hf-clip/config.json" no-weights
run "no weights" 1 "neither model.safetensors nor pytorch_model.bin is there" convert no-weights bad
mkdir alone
cp "$fixtures/hf-clip/model.safetensors" alone
run "no config.json" 1 "there is no config.json beside it" convert alone/model.safetensors bad
cp -r "$fixtures/hf-siglip" shards && chmod -R u+w shards && rm shards/model-00002-of-00002.safetensors
run "a shard is missing" 1 "model-00002-of-00002.safetensors: No such file" convert shards bad
sed 's|model-00001-of|../model-00001-of|' "$fixtures/hf-siglip/model.safetensors.index.json" >shards/model.safetensors.index.json
run "a shard outside of the folder" 1 "expected the name of a file beside the index, found '../model-00001" convert shards bad
cp "$fixtures/hf-siglip/model-00002-of-00002.safetensors" shards
sed 's|model-00002-of|model-00001-of|' "$fixtures/hf-siglip/model.safetensors.index.json" >shards/model.safetensors.index.json
run "a tensor in another shard" 1 "model-00001-of-00002.safetensors does not hold" convert shards bad

# What is not supported is named. change WHAT INTO PATTERN
change() {
    rm -rf changed
    cp -r "$fixtures/hf-clip" changed && chmod -R u+w changed
    sed "s|$1|$2|" "$fixtures/hf-clip/config.json" >changed/config.json
    sed "s|$1|$2|" "$fixtures/hf-clip/preprocessor_config.json" >changed/preprocessor_config.json
    run "$1 -> $2" 1 "$3" convert changed bad
}
change '"model_type": "clip",' '"model_type": "blip",' 'model_type: expected one of clip|siglip'
change '"hidden_act": "gelu"' '"hidden_act": "silu"' 'hidden_act: expected one of quick_gelu|gelu|gelu_pytorch_tanh'
change '"resample": 2' '"resample": 1' 'resample: 1 is not supported'
change '"do_resize": true' '"do_resize": false' 'do_resize: false is not supported'
change '"crop_size": 32' '"crop_size": 30' 'pictures of 30 pixels come out, of a resize to 40; the model takes 32'
change '"shortest_edge": 40' '"longest_edge": 40' 'expected a number, a shortest_edge'
change '"num_channels": 3' '"num_channels": 1' 'num_channels'
change '"hidden_size": 16' '"hidden_size": 18' 'patch_embedding.weight is \[16, 3, 8, 8\], expected \[18, .*; and 66 more of another shape'
sed '/"text_config"/,/}/s|"hidden_size": 16|"hidden_size": 18|' "$fixtures/hf-clip/config.json" >changed/config.json
cp "$fixtures/hf-clip/preprocessor_config.json" changed
run "one tower of another width: all of it" 1 \
    'text_model.encoder.layers.\*.self_attn.q_proj.weight is \[16, 16\], expected \[54, 18\] with its others (2 times)' \
    convert changed bad

change '"hidden_act": "gelu"' '"qk_norm": true, "hidden_act": "gelu"' 'config.json: vision_config.qk_norm: true is not supported'
change '"num_attention_heads"' '"rope_theta": 1e4, "num_attention_heads"' 'vision_config.rope_theta: 10000'
change '"num_attention_heads"' '"num_key_value_heads": 1, "num_attention_heads"' 'num_key_value_heads: 1 is not supported'
change '"num_attention_heads"' '"head_dim": 4, "num_attention_heads"' 'head_dim: 4 is not supported, only hidden_size'
change '"hidden_act": "gelu"' '"hidden_act": "gelu", "attention_bias": false' 'vision_config.attention_bias: false is not'
change '"dtype": "float32"' '"quantization_config": {"bits": 4}' 'config.json: quantization_config: {"bits":4} is not supported'
change '"eos_token_id": 519' '"eos_token_id": 7' 'text_config.eos_token_id: 7 is not supported'
change '"do_resize": true' '"do_pad": true, "do_resize": true' 'preprocessor_config.json: do_pad: true is not supported'
sed 's/"num_attention_heads"/"qk_norm": false, "rope_scaling": null, "drop_path_rate": 0.1, "top_k": 50, "odd": 7, "num_attention_heads"/' \
    "$fixtures/hf-clip/config.json" >changed/config.json
cp "$fixtures/hf-clip/preprocessor_config.json" changed
run "what is off, or harmless, is passed over" 0 "passed over: vision_config.odd, text_config.odd$" convert changed odd
cp -r "$fixtures/hf-siglip" headless && chmod -R u+w headless
sed 's/"vision_use_head": true/"vision_use_head": false/' "$fixtures/hf-siglip/config.json" >headless/config.json
run "SigLIP without its head" 1 "vision_config.vision_use_head: false is not supported" convert headless bad
run "a tower that open_clip has no name for" 1 "by timm's names only, and this model came without one (patches of" \
    export -f open_clip "$fixtures/hf-siglip" bad

# Somebody else's description.
run "Hugging Face's config.json as a description" 0 "with its tokenizer" convert "$fixtures/hf-clip" given \
    --config "$fixtures/hf-clip/config.json"
same "gives the same" given/model.safetensors own/model.safetensors
run "which must be one of a model" 1 "preprocessor_config.json: expected a model's description: with vision_cfg" \
    convert "$fixtures/hf-clip" bad --config "$fixtures/hf-clip/preprocessor_config.json"
run "and a file" 1 "convert: .*hf-clip" convert "$fixtures/hf-clip" bad --config "$fixtures/hf-clip"

# Files that are there and hold nothing.
for name in config.json preprocessor_config.json tokenizer.json vocab.json merges.txt; do
    rm -rf hollow && cp -r "$fixtures/hf-clip" hollow && chmod -R u+w hollow && : >hollow/$name
    run "an empty $name" 1 "hollow/$name: the file is empty" convert hollow bad
done
cp -r oc hollow-oc && : >hollow-oc/open_clip_config.json
run "an empty open_clip_config.json" 1 "hollow-oc/open_clip_config.json: the file is empty" convert hollow-oc bad
: >empty.json
mkdir waits && cp "$fixtures/hf-clip"/*.safetensors waits && mkfifo waits/config.json
run "nobody waits for a pipe" 1 "waits/config.json is a device or a pipe" convert waits bad
sed 's/"layers": 2/"layrs": 2/' other.json >misspelt.json
run "a description is blamed by its name" 1 "misspelt.json: vision_cfg.layrs: unknown key" \
    convert "$fixtures/openai-vit.pt" bad --config misspelt.json
run "an empty description" 1 "empty.json: the file is empty" convert "$fixtures/hf-clip" bad --config empty.json
run "no tokenizer" 0 "(looked in oc for tokenizer.json, bpe_simple_vocab_16e6.txt.gz, vocab.json with merges.txt)" \
    convert oc bare/a.safetensors
run "nor for texts" 1 "came without a tokenizer; .*(looked in oc for tokenizer.json," embed -w oc --texts texts -o no.npy

# What lies there already.
rm -rf ours && cp -r "$fixtures/hf-clip" ours && chmod -R u+w ours
run "not into its own folder" 1 'ours/config.json is there' convert ours ours
cmp -s ours/model.safetensors "$fixtures/hf-clip/model.safetensors"
report "which stays as it was" $?
mkdir -p mix && echo '{"another": "tokenizer"}' >mix/tokenizer.json
run "nor beside another model's tokenizer" 1 "mix/tokenizer.json is another model's" convert "$fixtures/hf-clip" mix/a.safetensors
[ ! -e mix/a.safetensors ] && [ "$(cat mix/tokenizer.json)" = '{"another": "tokenizer"}' ]
report "and nothing is written" $?
run "twice into the same place" 0 "" convert "$fixtures/hf-clip" same/a.safetensors
run "is good" 0 "" convert "$fixtures/hf-clip" same/b.safetensors

run "export needs a format" 2 "format" export own out
run "of two" 2 "hf|open_clip" export --format onnx own out
run "a residual tower" 1 "ViT towers only, and this model's image tower is a residual network" \
    export -f hf "$fixtures/openai-resnet.pt" out
[ ! -e out ]
report "nothing is written of what is refused" $?
finish
