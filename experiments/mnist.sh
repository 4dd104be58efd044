# What the MNIST experiments share; they say `. "$(dirname "$0")/mnist.sh"` and then pack_mnist DATA_DIR or pack_exact DATA_DIR.
. "$(dirname "$0")/root.sh"

# One of the four files, whatever its name's ending.
mnist_file() # DIR NAME
{
    for f in "$1/$2" "$1/$2.gz"; do
        [ -e "$f" ] && printf '%s\n' "$f" && return
    done
    echo "$1: there is no $2 or $2.gz; expected MNIST's four IDX files" >&2
    return 1
}

pack_digits() # STORE IMAGES
{
    [ -e "$1" ] || "$duet" pack --out "$1" --classes experiments/mnist-digits.txt \
        --template "a photo of the digit {}." --template "the number {}." --template "a handwritten {}." "$2"
}

pack_mnist() # DATA_DIR ...
{
    if [ $# -lt 1 ]; then
        echo "usage: $0 DATA_DIR [options]" >&2
        exit 2
    fi
    data=$(from_here "$1")
    train=$(mnist_file "$data" train-images-idx3-ubyte)
    test=$(mnist_file "$data" t10k-images-idx3-ubyte)
    mkdir -p packed
    pack_digits packed/mnist-train.lmdb "$train"
    pack_digits packed/mnist-test.lmdb "$test"
}

# Without loss, for models of the pixels themselves: packed/mnist-exact-{train,test}.lmdb.
pack_exact() # DATA_DIR ...
{
    if [ $# -lt 1 ]; then
        echo "usage: $0 DATA_DIR [options]" >&2
        exit 2
    fi
    data=$(from_here "$1")
    mkdir -p packed
    for half in train t10k; do
        images=$(mnist_file "$data" $half-images-idx3-ubyte)
        store=packed/mnist-exact-$([ $half = train ] && echo train || echo test).lmdb
        [ -e "$store" ] || "$duet" pack --lossless --out "$store" --classes experiments/mnist-digits.txt "$images"
    done
}
