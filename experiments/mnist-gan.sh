#!/bin/sh
# Digits by a conditional DCGAN: distances to the test images in the space of the small tower of experiments/mnist-probe.sh, and the share of
# samples that its fine-tuned classifier names as the digit they were made for. Trains both first where they are not there.
# DATA_DIR: as experiments/mnist-linear.sh.
# Usage: experiments/mnist-gan.sh DATA_DIR [--set KEY=VALUE ...]
set -eu
. "$(dirname "$0")/mnist.sh"
pack_exact "$@"
[ -e runs/mnist-clip/model.safetensors ] && [ -e runs/mnist-finetune/model.safetensors ] ||
    DUET=$duet experiments/mnist-probe.sh "$data"
shift
"$duet" gan experiments/mnist-gan.json "$@"
