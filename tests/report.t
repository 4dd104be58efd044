#!/bin/sh
# duet report: on the command line, and its page in a browser: no errors on the console, no sideways
# scrolling, all pictures decoded, no words cut, no names over each other, values under the pointer, enough contrast; 1280
# and 390 pixels wide, light and dark.
duet="${BUILD:-build/release}/duet"
maker="${BUILD:-build/release}/tests/report"
plots="${BUILD:-build/release}/tests/report_plots"
drawn="${BUILD:-build/release}/tests/report_drawn"
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
"$plots" "$dir" || { echo "Bail out! $plots makes no runs"; exit 1; }
"$drawn" "$dir" || { echo "Bail out! $drawn makes no runs"; exit 1; }
second="$dir/second & <b>"
mkdir "$dir/empty"
check "writes the report and says where" 0 "^$dir/run/report.html$" "$dir/run"
check "no run" 1 "duet report: $dir/none is no folder" "$dir/none"
check "an empty folder" 1 "duet report: $dir/empty holds no config.json" "$dir/empty"
check "no word" 2 "duet report"
check "--out with one run" 2 "for several runs" "$dir/run" --out "$dir/x.html"
check "everything" 0 "^$dir/first/report.html$" "$dir/first"
check "another run" 0 "report.html$" "$second"
check "a run that made pictures" 0 "report.html$" "$dir/made"
check "two of them" 0 "^$dir/beside.html$" "$dir/made" "$dir/made too" --out "$dir/beside.html"
check "two runs" 0 "^$dir/compare.html$" "$dir/first" "$second" --out "$dir/compare.html"
grep -q 'href="./first/report.html"' "$dir/compare.html"
result $? "which links to both" "no link to ./first/report.html"
check "a comparison with a run that is not there" 1 "$dir/none is no folder" "$dir/first" "$dir/none" --out "$dir/none.html"
[ ! -e "$dir/none.html" ]
result $? "which leaves nothing" "there is $dir/none.html"

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

# Points into every plot and looks around. Contrast is that of WCAG 2.2 (4.5 for text), against what lies under the text.
# A page's parts may scroll in their own boxes, but not the page.
cat >"$dir/look.js" <<'JS'
const linear = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const shine = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const numbers = colour => colour.match(/[\d.]+/g).map(Number);
const under = e => {
  const [r, g, b, a = 1] = numbers(getComputedStyle(e).backgroundColor);
  if (a === 1) return [r, g, b];
  const below = under(e.parentNode === document ? document.body : e.parentNode);
  return [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
};
const paper = shine(under(document.body));
let contrast = 21, worst = '';
for (const e of document.querySelectorAll('main *')) {
  const style = getComputedStyle(e);
  if (![...e.childNodes].some(c => c.nodeType === 3 && c.data.trim()) || style.fontSize === '0px') continue;
  const ink = shine(numbers(style.color)), back = shine(under(e));
  const ratio = (Math.max(ink, back) + .05) / (Math.min(ink, back) + .05);
  if (ratio < contrast) [contrast, worst] = [ratio, e.tagName + '.' + e.className];
}
const at = (e, across, down) => {
  const box = e.getBoundingClientRect();
  return { bubbles: true, clientX: box.left + across * box.width, clientY: box.top + down * box.height };
};
const point = (e, across = 1 / 3, down = .1) => e.dispatchEvent(new PointerEvent('pointermove', at(e, across, down)));
const leave = e => e.dispatchEvent(new PointerEvent('pointerleave'));
const press = (e, key) => e.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
let hovers = 0, charts = 0, told = 0, plots = 0;
for (const plot of document.querySelectorAll('.plot[data-scale]')) {
  const out = plot.parentNode.querySelector('output'), rest = out.textContent;
  point(plot);
  const there = out.textContent;
  leave(plot);
  press(plot, 'End');
  const last = out.textContent;
  hovers += /^steps? [\d,–]+: /.test(there) && last !== there && last !== rest && !!plot.querySelector('i');
  charts++;
  plot.dispatchEvent(new FocusEvent('blur'));
}
/* Other plots: what each says under the pointer, that it says no more once it has left, and that keys move on. */
const said = {
  '.lines': f => [...f.querySelectorAll('output')].map(o => o.textContent).join('|'),
  '.heat': f => f.querySelector('output').textContent,
  '.square': f => f.querySelector('output').textContent,
  '.scatter': f => f.querySelector('.tip').hidden ? '' : f.querySelector('.tip').textContent,
};
const mark = { '.heat': e => e.querySelectorAll('tbody td')[1] };
for (const kind in said)
  for (const plot of document.querySelectorAll(kind)) {
    const figure = plot.closest('figure'), say = () => said[kind](figure);
    const rest = say(), target = mark[kind] ? mark[kind](plot) : plot;
    if (kind === '.scatter') {
      const [x, y] = JSON.parse(plot.dataset.points)[0];
      point(plot, x, y);
    } else {
      point(target, .4, .5);
    }
    const there = say();
    press(plot, 'ArrowRight');
    const next = say();
    leave(plot);
    const good = there !== rest && next !== there && say() === rest && !/undefined|NaN|null/.test(there + next);
    told += good;
    if (!good) worst += ` ${kind}: "${rest}" "${there}" "${next}" "${say()}"`;
    plots++;
  }
const table = document.querySelector('.sorted');
let sorted = 'none';
if (table) {
  const values = () => [...table.tBodies[0].rows].map(r => +r.cells[2].dataset.v);
  const head = table.querySelectorAll('thead button')[2];
  head.click();
  const down = values();
  head.click();
  sorted = down.every((v, i) => !i || v <= down[i - 1]) && values().every((v, i, a) => !i || v >= a[i - 1]);
}
/* Sliders show the last picture alone, and moved to the start the first. */
let slid = 0;
for (const series of document.querySelectorAll('.series')) {
  const slider = series.querySelector('input'), items = [...series.querySelectorAll('li')];
  const seen = () => items.filter(i => i.offsetHeight > 0);
  const [last, ...others] = seen();
  slider.value = 0;
  slider.dispatchEvent(new Event('input'));
  const [first, ...more] = seen();
  slid += slider.offsetHeight > 0 && last === items.at(-1) && first === items[0] && !others.length && !more.length;
}
document.querySelectorAll('details').forEach(d => d.open = true);
/* Words of tables, matrices and maps that a line's end cuts; longer ones may be. */
let split = 0;
for (const e of document.querySelectorAll('.sorted th, .heat th span, .figures th, .legend span, .prompt, .compared td')) {
  const walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
  while (walk.nextNode())
    for (const word of walk.currentNode.data.matchAll(/[A-Za-z0-9]{2,18}/g)) {
      const range = document.createRange();
      range.setStart(walk.currentNode, word.index);
      range.setEnd(walk.currentNode, word.index + word[0].length);
      const wide = e.closest('.heat') ? r => r.left : r => r.top;
      if (new Set([...range.getClientRects()].map(r => Math.round(wide(r)))).size > 1 && !e.closest('.keys')) {
        split++;
        worst += ' cut: ' + word[0];
      }
    }
}
/* Names on a map that lie over another or over the mark of another. */
let over = 0;
for (const plot of document.querySelectorAll('.scatter')) {
  const names = [...plot.querySelectorAll('.prompt')].map(e => e.getBoundingClientRect()), box = plot.getBoundingClientRect();
  const marks = JSON.parse(plot.dataset.points).filter(p => p[2])
    .map(p => ({ left: box.left + p[0] * box.width - 4, right: box.left + p[0] * box.width + 4,
      top: box.top + p[1] * box.height - 4, bottom: box.top + p[1] * box.height + 4 }));
  const meet = (a, b) => a !== b && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  names.forEach(a => over += [...names, ...marks].filter(b => meet(a, b)).length +
    (a.left < box.left - 1 || a.right > box.right + 1));
}
const page = document.documentElement;
const boxes = [...document.querySelectorAll('main > section')].filter(s => s.scrollWidth > s.clientWidth + 1);
const seen = ['sideways=' + (page.scrollWidth > page.clientWidth || boxes.length > 0), 'width=' + page.clientWidth,
  'broken=' + [...document.images].filter(i => !i.naturalWidth).length,
  'pictures=' + document.images.length,
  'hovers=' + hovers, 'of=' + charts, 'told=' + told, 'plots=' + plots, 'sorted=' + sorted, 'slid=' + slid, 'split=' + split, 'over=' + over,
  'contrast=' + (contrast >= 4.5 ? 'good' : contrast), 'dark=' + (paper < .2)].join(' ') + ' ' + worst;
parent.postMessage(seen, '*');
JS

# inspect PAGE WIDTH SCHEME WANTED...: the page in a frame, which has the width that it is given (a window has one of
# at least 500 pixels).
inspect() {
    name=$(basename "$(dirname "$1")")/$(basename "$1") at=$2 scheme=$3
    sed 's#</body></html>##' "$1" >"$dir/look.html"
    { echo '<script nonce="report">'; cat "$dir/look.js"; echo '</script></body></html>'; } >>"$dir/look.html"
    cat >"$dir/frame.html" <<HTML
<!doctype html><meta name="color-scheme" content="light dark"><p id="seen"></p>
<script>onmessage = event => document.getElementById('seen').textContent = event.data</script>
<iframe src="look.html" style="width:${at}px;height:900px;border:0"></iframe>
HTML
    shift 3
    setting=$([ $scheme = dark ] && echo preferredColorScheme=0 || echo preferredColorScheme=1)
    look "$dir/frame.html" $setting >"$dir/seen"
    seen=$(grep -o 'id="seen">[^<]*' "$dir/seen"; grep CONSOLE "$dir/seen")
    ! grep -q CONSOLE "$dir/seen"
    result $? "$name, $at pixels, $scheme: a silent console" "$seen"
    for want in "$@" sideways=false broken=0 split=0 over=0 contrast=good "width=$at" \
        "dark=$([ $scheme = dark ] && echo true || echo false)"; do
        case $seen in *"$want "*) result 0 "$name, $at pixels, $scheme: $want" ;;
        *) result 1 "$name, $at pixels, $scheme: $want" "$seen" ;; esac
    done
}

for width in 1280 390; do
    for scheme in light dark; do
        inspect "$dir/run/report.html" $width $scheme pictures=3 hovers=8 of=8 plots=0
        inspect "$dir/first/report.html" $width $scheme pictures=81 hovers=6 of=6 told=11 plots=11 sorted=true
        inspect "$dir/made/report.html" $width $scheme pictures=19 hovers=4 of=4 slid=1
        inspect "$dir/beside.html" $width $scheme pictures=8 told=4 plots=4 slid=0
        inspect "$dir/compare.html" $width $scheme pictures=0 told=6 plots=6
    done
done
finish
