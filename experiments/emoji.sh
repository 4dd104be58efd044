#!/bin/sh
# The demo: renders the colour emoji of the system's font, packs them, trains two small towers on most of them, and names
# and finds people that the training never saw. After `make`, or through `make demo`.
set -eu
. "$(dirname "$0")/root.sh"
packed=packed

pack() # SPLIT
{
    [ -e $packed/emoji-"$1".lmdb ] ||
        "$duet" pack --from emoji --split "$1" --out $packed/emoji-"$1".lmdb --classes-out $packed/emoji-classes.json
}

mkdir -p $packed
for split in train test-cells test-objects; do
    pack $split
done

"$duet" pretrain experiments/emoji.json --out runs/emoji "$@"

cat <<'END'

The held-out people were never seen in training: whole columns (every skin tone of, say, the woman mechanic) and single
combinations. "top-1 accuracy" is naming such a picture among all combinations of role, gender and skin tone.
"unseen objects" is hard on purpose: nothing like them was in the training either.

Next:
  open runs/emoji/report.html in a browser: the curves, and the pictures found for a dozen queries
  ./duet zeroshot -w runs/emoji packed/emoji-test-cells.lmdb -c packed/emoji-classes.json -q "woman cook: dark skin tone"
  ./duet retrieve -w runs/emoji packed/emoji-train.lmdb --query cat --query family --gallery runs/found.html
  ./duet pretrain experiments/emoji.json --out runs/emoji-2 --set seed=2 --set optimizer.lr=0.003
END
