#!/bin/sh
# duet report: on the command line, and its page in a browser: no errors on the console, no sideways
# scrolling, all pictures decoded, values under the pointer, enough contrast; 1280 and 390 pixels wide, light and dark.
duet="${BUILD:-build/release}/duet"
maker="${BUILD:-build/release}/tests/report"
dir=$(mktemp -d "${TMPDIR:-/tmp}/duet-test-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
n=0

# result STATUS NAME [TEXT]
result() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        printf '%s\n' "$3" | sed 's/^/# /'
    fi
}

# check NAME STATUS PATTERN WORDS...
check() {
    name=$1 want=$2 pattern=$3
    shift 3
    said=$("$duet" report "$@" 2>&1)
    got=$?
    [ "$got" -eq "$want" ] && printf '%s\n' "$said" | grep -q -e "$pattern"
    result $? "$name" "status $got: $said"
}

finish() {
    echo "1..$n"
    exit 0
}

"$maker" "$dir/run" || { echo "Bail out! $maker makes no run"; exit 1; }
mkdir "$dir/empty"
check "writes the report and says where" 0 "^$dir/run/report.html$" "$dir/run"
check "no run" 1 "duet report: $dir/none is no folder" "$dir/none"
check "an empty folder" 1 "duet report: $dir/empty holds no config.json" "$dir/empty"
check "no word" 2 "duet report"
check "a word too many" 2 "duet report" "$dir/run" "$dir/run"

for browser in chromium chromium-browser google-chrome none; do
    command -v $browser >/dev/null 2>&1 && break
done

# look PAGE [SETTING]: prints the page's elements after its scripts ran, and what the console said.
look() {
    timeout 60 $browser --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --user-data-dir="$dir/profile" --hide-scrollbars --window-size=1400,900 --virtual-time-budget=3000 \
        ${2:+--blink-settings=$2} --enable-logging=stderr --dump-dom "file://$1" 2>"$dir/console"
    grep CONSOLE "$dir/console"
}

echo '<!doctype html><p id="x"></p><script>x.textContent = 6 * 7</script>' >"$dir/probe.html"
if [ $browser = none ] || ! look "$dir/probe.html" | grep -q ">42<"; then
    n=$((n + 1))
    echo "ok $n - the page in a browser # SKIP no Chromium here that starts"
    finish
fi

# Points into every chart and looks around. Contrast is that of WCAG 2.2 (4.5 for text), against the page's
# own colour.
cat >"$dir/look.js" <<'JS'
const linear = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const shine = colour => {
  const [r, g, b] = colour.match(/[\d.]+/g).map(linear);
  return .2126 * r + .7152 * g + .0722 * b;
};
const paper = shine(getComputedStyle(document.body).backgroundColor);
let contrast = 21;
for (const e of document.querySelectorAll('main *')) {
  if (![...e.childNodes].some(c => c.nodeType === 3 && c.data.trim())) continue;
  const ink = shine(getComputedStyle(e).color);
  contrast = Math.min(contrast, (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05));
}
let hovers = 0;
for (const plot of document.querySelectorAll('.plot')) {
  const box = plot.getBoundingClientRect(), out = plot.parentNode.querySelector('output');
  const rest = out.textContent, third = box.left + box.width / 3;
  plot.dispatchEvent(new PointerEvent('pointermove', { clientX: third, clientY: box.top + 9 }));
  const there = out.textContent;
  plot.dispatchEvent(new PointerEvent('pointerleave'));
  plot.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));
  const last = out.textContent;
  hovers += /^steps? [\d,–]+: /.test(there) && last !== there && last !== rest && !!plot.querySelector('i');
  plot.dispatchEvent(new FocusEvent('blur'));
}
const page = document.documentElement;
const seen = ['sideways=' + (page.scrollWidth > page.clientWidth), 'width=' + page.clientWidth,
  'broken=' + [...document.images].filter(i => !i.naturalWidth).length,
  'pictures=' + document.images.length,
  'hovers=' + hovers, 'of=' + document.querySelectorAll('.plot').length,
  'contrast=' + (contrast >= 4.5 ? 'good' : contrast), 'dark=' + (paper < .2)].join(' ') + ' ';
parent.postMessage(seen, '*');
JS
sed 's#</body></html>##' "$dir/run/report.html" >"$dir/look.html"
{ echo '<script nonce="report">'; cat "$dir/look.js"; echo '</script></body></html>'; } >>"$dir/look.html"

# A frame has the width that it is given; a window has one of at least 500 pixels.
for width in 1280 390; do
    cat >"$dir/frame.html" <<HTML
<!doctype html><meta name="color-scheme" content="light dark"><p id="seen"></p>
<script>onmessage = event => document.getElementById('seen').textContent = event.data</script>
<iframe src="look.html" style="width:${width}px;height:900px;border:0"></iframe>
HTML
    for scheme in light dark; do
        setting=$([ $scheme = dark ] && echo preferredColorScheme=0 || echo preferredColorScheme=1)
        look "$dir/frame.html" $setting >"$dir/seen"
        seen=$(grep -o 'id="seen">[^<]*' "$dir/seen"; grep CONSOLE "$dir/seen")
        ! grep -q CONSOLE "$dir/seen"
        result $? "$width pixels, $scheme: a silent console" "$seen"
        for want in sideways=false broken=0 pictures=3 hovers=8 of=8 contrast=good \
            "dark=$([ $scheme = dark ] && echo true || echo false)" "width=$width"; do
            case $seen in *"$want "*) result 0 "$width pixels, $scheme: $want" ;;
            *) result 1 "$width pixels, $scheme: $want" "$seen" ;; esac
        done
    done
done
finish
