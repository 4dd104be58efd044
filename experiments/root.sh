# What the experiments share, wherever they are started: they say `. "$(dirname "$0")/root.sh"` and stand in the root of the checkout from
# then on, where runs/ and packed/ are. DATA_DIR goes through `from_here`, which keeps it relative to where the user is; paths among the
# options, such as --out, are relative to the root.
here=$PWD
CDPATH= cd -- "$(dirname -- "$0")/.." || exit 1
[ "$PWD" = "$here" ] || echo "In $PWD" >&2

from_here() # PATH
{
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$here/$1" ;;
    esac
}

case ${DUET-} in
"") duet=./duet ;;
/*) duet=$DUET ;;
*/*) duet=$here/$DUET ;;
*) duet=$DUET ;;
esac
