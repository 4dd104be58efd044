#!/bin/sh
# CIFAR-10's classes by a conditional GAN, and by one that is told in words what to draw, in the space of Duet's own text tower. Both are measured in
# the features of the towers of experiments/cifar10.sh, which are trained first where they are not there.
# DATA_DIR: as experiments/cifar10.sh.
# Usage: experiments/cifar10-gan.sh DATA_DIR [--set KEY=VALUE ...]
set -eu
if [ $# -lt 1 ]; then
    echo "usage: $0 DATA_DIR [--set KEY=VALUE ...]" >&2
    exit 2
fi
. "$(dirname "$0")/root.sh"
[ -e runs/cifar10/model.safetensors ] || DUET=$duet experiments/cifar10.sh "$(from_here "$1")"
shift
"$duet" gan experiments/cifar10-gan.json "$@"
"$duet" gan experiments/cifar10-text-gan.json "$@"
"$duet" gan -w runs/cifar10-text-gan --prompt "a photo of a ship." --prompt "a photo of a horse." --out runs/cifar10-text-gan/prompts.png
