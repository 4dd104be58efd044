#!/bin/sh
# The figures of Kingma & Welling (2014) and Burda et al. (2016) on binarised MNIST: a VAE and an IWAE with k = 50, both measured by the
# importance-weighted bound with 5,000 samples on the 10,000 test images; and the plane of a VAE with two latent numbers.
# DATA_DIR: as experiments/mnist-linear.sh.
# Usage: experiments/mnist-vae.sh DATA_DIR [--set KEY=VALUE ...]
set -eu
. "$(dirname "$0")/mnist.sh"
pack_exact "$@"
shift
"$duet" vae experiments/mnist-vae.json "$@"
"$duet" vae experiments/mnist-iwae.json "$@"
"$duet" vae experiments/mnist-plane.json "$@"

figure() # RUN KEY
{
    tr -d '\n' <"runs/$1/evaluation.json" | tr '{' '\n' | grep "\"key\": \"$2\"" | sed 's/.*"value": \([0-9.e-]*\).*/\1/' | head -1
}

row() # WHAT RUN
{
    LC_ALL=C awk -v what="$1" -v nll="$(figure "$2" nll)" -v elbo="$(figure "$2" elbo)" \
        'BEGIN { printf "%-34s %12.2f %12.2f\n", what, -nll, -elbo }'
}

echo
echo "binarised MNIST, test, in nats        log p(x) >=         ELBO"
row "VAE, 50 latent numbers" mnist-vae
row "IWAE, k = 50" mnist-iwae
row "VAE, 2 latent numbers" mnist-plane
