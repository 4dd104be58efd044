#!/bin/sh
# Which objectives cover all modes of a ring of 8 Gaussians: R1 (Mescheder et al., 2018), WGAN-GP (Gulrajani et al., 2017), and plain minimax
# (Goodfellow et al., 2014), which is known to fail. The pictures stand side by side in runs/ring.html.
# Usage: experiments/ring.sh [--set KEY=VALUE ...]
set -eu
. "$(dirname "$0")/root.sh"
mkdir -p runs
"$duet" gan experiments/ring.json --out runs/ring-r1 "$@"
"$duet" gan experiments/ring.json --out runs/ring-wgan-gp --set name='"Ring, WGAN-GP"' --set objective.loss=wasserstein \
    --set objective.penalty=wgan_gp --set objective.critic_steps=5 --set steps=40000 "$@"
"$duet" gan experiments/ring.json --out runs/ring-minimax --set name='"Ring, minimax"' --set objective.loss=minimax \
    --set objective.penalty=none --set generator.beta1=0.5 --set discriminator.beta1=0.5 "$@"
"$duet" report runs/ring-r1 runs/ring-wgan-gp runs/ring-minimax --out runs/ring.html
