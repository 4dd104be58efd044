#!/bin/sh
# A small image tower on MNIST in three uses: pretrained with captions and asked zero-shot, probed (logistic regression on its
# frozen features), and fine-tuned. Prints the three accuracies on the 10,000 test images as one table.
# DATA_DIR: as experiments/mnist-linear.sh.
# Usage: experiments/mnist-probe.sh DATA_DIR
set -eu
. "$(dirname "$0")/mnist.sh"
pack_mnist "$@"
clip=runs/mnist-clip
tuned=runs/mnist-finetune
mkdir -p runs

"$duet" pretrain experiments/mnist-clip.json --out $clip
"$duet" zeroshot -w $clip packed/mnist-test.lmdb --name zero-shot --template "a photo of the digit {}." \
    --template "the number {}." --template "a handwritten {}." --out $clip/evaluation.json >/dev/null
"$duet" probe -w $clip packed/mnist-train.lmdb packed/mnist-test.lmdb --out $clip/evaluation.json
"$duet" finetune experiments/mnist-finetune.json --out $tuned
"$duet" report $clip

# The first top-1 accuracy in a run's findings whose name matches.
accuracy() # FILE PATTERN
{
    tr -d '\n' <"$1" | tr '{' '\n' | grep '"key": "top1"' | grep -e "$2" |
        sed 's/.*"value": \([0-9.e-]*\).*/\1/' | head -1
}

row() # WHAT VALUE
{
    LC_ALL=C awk -v what="$1" -v value="$2" 'BEGIN { printf "%-44s %6.2f %%  of 10000\n", what, 100 * value }'
}

echo
echo "MNIST test                                   top-1"
row "zero-shot, from captions" "$(accuracy $clip/evaluation.json zero-shot)"
row "linear probe on the frozen features" "$(accuracy $clip/evaluation.json probe)"
row "fine-tuned" "$(accuracy $tuned/evaluation.json mnist-test)"
