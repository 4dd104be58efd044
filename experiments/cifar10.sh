#!/bin/sh
# CIFAR-10 as image-text pairs: packs DATA_DIR/train.tar and test.tar (tars of class folders of JPEG files), pretrains from
# scratch with captions made of templates, and classifies the 10,000 test images zero-shot. The images are
# published by A. Krizhevsky (https://www.cs.toronto.edu/~kriz/cifar.html); DATA_DIR may also hold its binary version's
# data_batch_*.bin and test_batch.bin.
# Usage: experiments/cifar10.sh DATA_DIR [duet pretrain options]
set -eu
if [ $# -lt 1 ]; then
    echo "usage: experiments/cifar10.sh DATA_DIR [duet pretrain options]" >&2
    exit 2
fi
. "$(dirname "$0")/root.sh"
data=$(from_here "$1")
shift
packed=packed

pack() # NAME SOURCE...
{
    out=$packed/cifar10-$1.lmdb
    shift
    [ -e "$out" ] ||
        "$duet" pack --out "$out" --template "a photo of a {}." --template "a blurry photo of a {}." \
            --template "a picture of the {}." --template "a small {}." "$@"
}

there() # FILE...
{
    for file in "$@"; do
        [ -e "$data/$file" ] && continue
        echo "$data: there is no $file; expected train.tar and test.tar, or CIFAR-10's data_batch_1.bin to _5.bin and test_batch.bin" >&2
        exit 1
    done
}

if [ -e "$data/train.tar" ]; then
    there test.tar
else
    there data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin
fi
mkdir -p $packed
if [ -e "$data/train.tar" ]; then
    pack train "$data/train.tar"
    pack test "$data/test.tar"
else
    pack train "$data"/data_batch_1.bin "$data"/data_batch_2.bin "$data"/data_batch_3.bin "$data"/data_batch_4.bin \
        "$data"/data_batch_5.bin
    pack test "$data/test_batch.bin"
fi
exec "$duet" pretrain experiments/cifar10.json --out runs/cifar10 "$@"
