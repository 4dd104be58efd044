# Ten colours with the names of the CIFAR-10 classes: makes ten.bin, CIFAR-10 records of 32 x 32, a label, then a red, a green and a blue
# plane. After tests/cli.sh.
plane() { # 1024 bytes of one value
    head -c 1024 /dev/zero | tr '\0' "\\$(printf %03o "$1")"
}
for label in 0 1 2 3 4 5 6 7 8 9; do
    printf '%b' "\\0$(printf %o $label)"
    plane $((label % 3 * 120))
    plane $((label / 3 % 3 * 120))
    plane $((label / 9 * 200 + label % 2 * 50))
done >ten.bin
