#!/bin/sh
# The simplest baseline: one linear layer from MNIST's 784 pixels to ten digits, by SGD; about 92 % on the 10,000 test images.
# DATA_DIR holds the four IDX files that Y. LeCun, C. Cortes and C. Burges publish (http://yann.lecun.com/exdb/mnist/), gzipped
# or not.
# Usage: experiments/mnist-linear.sh DATA_DIR [duet finetune options]
set -eu
. "$(dirname "$0")/mnist.sh"
pack_mnist "$@"
shift
exec "$duet" finetune experiments/mnist-linear.json --out runs/mnist-linear "$@"
