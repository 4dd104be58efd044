#!/bin/sh
# duet retrieve on the command line: ten colours with names are packed, learnt, and found by text and by picture.
. tests/cli.sh
. "$root/tests/ten.sh"

# The figures.
run "captions by images" 0 '^image to text R@1  *100.00 % .* 10  *10.00 %  among 10$' retrieve -w run ten.lmdb
run "images by captions" 0 '^text to image R@5  *100.00 % .* 10  *50.00 %  among 10$' retrieve -w run ten.lmdb
run "ranks" 0 '^text to image, mean rank  *1\.0  *10  ' retrieve -w run ten.lmdb
[ -n "$(ls run/features/ten-embedding-*.safetensors)" ]
report "embeddings are kept" $?
"$duet" retrieve -w run ten.lmdb >kept.txt 2>said &&
    "$duet" retrieve -w run ten.lmdb --no-cache --batch 3 --threads 2 >fresh.txt 2>said &&
    cmp kept.txt fresh.txt >said 2>&1
report "and give the same figures as fresh ones" $?
run "writes for the report" 0 'R@10' retrieve -w run ten.lmdb --name colours --out evaluation.json
cp evaluation.json said
grep -q '"name": "colours: text to image R@5"' said && grep -q '"chance": 0.5' said
report "figures with their names" $?
printf 'not a name\n' >ship.txt
mkdir -p folder/cat folder/dog folder/plain
"$duet" pack --show 3 --jpeg folder/cat/1.jpg ten.lmdb >said 2>&1
"$duet" pack --show 5 --jpeg folder/dog/1.jpg ten.lmdb >said 2>&1
printf 'a photo of a cat.\na cat\n' >folder/cat/1.txt
printf 'a photo of a dog.\n' >folder/dog/1.txt
run "several captions an image" 0 '^folder: 2 images, 3 captions$' retrieve -w run folder
run "or the first of each" 0 '^folder: 2 images, 2 captions$' retrieve -w run folder --captions 1

# Queries.
i=0
while [ $i -lt 201 ]; do echo cat && i=$((i + 1)); done >many.txt
run "more queries than a page shows" 0 'gallery: many.html' retrieve -w run ten.lmdb --queries many.txt -k 1 -g many.html
[ "$(grep -c '<article' many.html)" -eq 200 ] && grep -q '1 more queries are left out' many.html
report "which says so" $?
run "an image for a text" 0 '^   1 .* \* a photo of a ship. (image 8)$' retrieve -w run ten.lmdb -q "a photo of a ship." -k 2
[ "$(echo *.html)" = many.html ]
report "without a page that nobody asked for" $?
run "and where the page is" 0 '^gallery: found.html$' retrieve -w run ten.lmdb -q "a photo of a ship." -g found.html
[ "$(grep -c '<article' found.html)" -eq 1 ] && [ "$(grep -c 'src="data:image/jpeg' found.html)" -eq 5 ] &&
    grep -q '<li class="correct"' found.html && ! grep -q 'no picture' found.html
report "with the pictures" $?
run "a query by picture as JSON" 0 '"image 3: a photo of a cat."' retrieve -w run ten.lmdb --image 3 --json --out evaluation.json
grep -q '"image": {' evaluation.json || grep -q '"image":{' evaluation.json
report "a query by picture in the file" $?
run "no image finds itself" 0 '^image 3: a photo of a cat.$' retrieve -w run ten.lmdb --image 3 -k 20
[ "$(grep -c '(image' said)" -eq 9 ] && ! grep -q '(image 3)' said
report "and top is what there is" $?
run "a picture file" 0 '^   1 *0.99[0-9]* .*image 3)$\|^   1 *1.000 .*(image 3)$' \
    retrieve -w run ten.lmdb --image folder/cat/1.jpg -g "a page.html" -k 1
[ "$(grep -c 'class="asked"><img' "a page.html")" -eq 1 ]
report "which is on the page too" $?
run "a folder, with file names" 0 '^   1 .* \* a photo of a dog. (image 1, folder/dog/1.jpg)$' \
    retrieve -w run folder -q "a photo of a dog." -g found.html
[ "$(grep -c '<img' found.html)" -eq 2 ] && grep -q 'title="folder/dog/1.jpg"' found.html
report "and its pictures" $?
run "captions for a picture" 0 '^   1 .* \* a photo of a cat. (image 3)$' retrieve -w run ten.lmdb --texts --image 3
run "captions of a folder" 0 ' a cat (image 0, folder/cat/1.jpg)$' retrieve -w run folder --texts --image folder/cat/1.jpg
printf 'a photo of a cat.\n\na photo of a dog.\n' >queries.txt
run "queries of a file" 0 '^   1 .* \* a photo of a dog. (image 5)$' retrieve -w run ten.lmdb --queries queries.txt --top 1
run "queries of a pipe" 0 '^   1 .* \* a photo of a dog. (image 5)$' \
    retrieve -w run ten.lmdb --queries - --top 1 <queries.txt
printf 'a photo of a cat.\n\n\377\n\na photo of a dog.' >lines
run "one after the other" 0 '^duet retrieve: line 3: .*UTF-8' retrieve -w run ten.lmdb -i -k 1 -g talk.html <lines
grep -q '\* a photo of a cat. (image 3)' said && grep -q '\* a photo of a dog. (image 5)' said &&
    [ "$(grep -c '<article' talk.html)" -eq 2 ]
report "all answered, and on a page" $?
run "one after the other, as JSON" 0 '^{"query":.*"a photo of a dog."' retrieve -w run ten.lmdb -i -k 1 --json <queries.txt
[ "$(grep -c '^{' said)" -eq 2 ]
report "an object a line" $?

# A large picture, and one in another form, become small ones.
if command -v python3 >/dev/null 2>&1; then
    python3 - folder/plain/large.png <<'END'
import random, struct, sys, zlib
random.seed(1)
rows = b"".join(b"\0" + random.randbytes(3 * 400) for _ in range(300))
chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
open(sys.argv[1], "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 400, 300, 8, 2, 0, 0, 0))
                              + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
END
    run "a large PNG among the pictures" 0 'large.png' retrieve -w run folder -q plain -g found.html
    [ "$(wc -c <folder/plain/large.png)" -gt 300000 ] && [ "$(wc -c <found.html)" -lt 150000 ] &&
        [ "$(grep -c '<img' found.html)" -eq 3 ] && ! grep -q 'image/png' found.html
    report "is reduced for the page" $?
    rm folder/plain/large.png
else
    skip "a large PNG" "python3 makes it"
fi

# What is wrong is said in one line.
refused() { # NAME STATUS PATTERN WORDS...
    run "$@"
    [ "$(wc -l <said)" -eq 1 ]
    report "$1: in one line" $?
}
refused "no weights" 2 'weights' retrieve ten.lmdb
refused "no such run" 1 '^duet retrieve: .*nothing' retrieve -w nothing ten.lmdb
refused "no such data" 1 '^duet retrieve: .*nothing.lmdb' retrieve -w run nothing.lmdb
refused "a blank query" 1 '^duet retrieve: query 1: ' retrieve -w run ten.lmdb -q "  "
refused "a query that is not UTF-8" 1 '^duet retrieve: query 2: ' retrieve -w run ten.lmdb -q cat -q "$(printf '\377x')"
printf 'fine\nbad \377\n' >bad.txt
refused "queries that are not UTF-8" 1 '^duet retrieve: bad.txt:2: ' retrieve -w run ten.lmdb --queries bad.txt
refused "an image beyond the data" 1 'ten.lmdb has no image 10; expected 0 to 9' retrieve -w run ten.lmdb --image 10
refused "a number beyond numbers" 1 'has no image 99999999999999999999' \
    retrieve -w run ten.lmdb --image 99999999999999999999
refused "no such picture" 1 'nothing.jpg' retrieve -w run ten.lmdb --image nothing.jpg
refused "a picture that is none" 1 '^duet retrieve: queries.txt: ' retrieve -w run ten.lmdb --image queries.txt
refused "top 0" 2 'out of range' retrieve -w run ten.lmdb -q cat -k 0
refused "captions for a text" 2 'texts finds captions' retrieve -w run ten.lmdb --texts -q cat
refused "captions on a page" 2 'hold images' retrieve -w run ten.lmdb --texts --image 3 -g x.html
refused "queries and a conversation" 2 'interactive reads its queries' retrieve -w run ten.lmdb -i -q cat
refused "a page of nothing" 2 'give --query or --image' retrieve -w run ten.lmdb -g x.html
run "a page that cannot be written" 1 '^duet retrieve: cannot write nowhere/x.html' \
    retrieve -w run ten.lmdb -q cat -g nowhere/x.html
rm -r folder/plain folder/cat/1.txt folder/dog/1.txt
refused "no captions" 1 'folder has no captions to find; --query' retrieve -w run folder
refused "no captions for a picture" 1 'folder has no captions' retrieve -w run folder --texts --image 0
mkdir -p far/bare
cp run/model.safetensors far/bare/
refused "no tokenizer" 1 'without a tokenizer' retrieve -w far/bare/model.safetensors ten.lmdb -q cat

# Of the model's file: the image tower alone, and one whose parameters are not numbers.
if command -v python3 >/dev/null 2>&1; then
    python3 - run/model.safetensors <<'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size, = struct.unpack("<Q", data[:8])
head, data = json.loads(data[8:8 + size]), data[8 + size:]

def save(name, meta, keep, change):
    out, body = {"__metadata__": meta}, b""
    for key in filter(keep, head):
        start, end = head[key]["data_offsets"]
        out[key] = dict(head[key], data_offsets=[len(body), len(body) + end - start])
        body += change(data[start:end])
    text = json.dumps(out).encode()
    open(name, "wb").write(struct.pack("<Q", len(text)) + text + body)

meta = head.pop("__metadata__")
image = json.loads(meta["duet.model"])
del image["text_cfg"]
save("image.safetensors", dict(meta, **{"duet.model": json.dumps(image)}), lambda key: key.startswith("visual."), bytes)
save("diverged.safetensors", meta, lambda key: True, lambda b: b"\0\0\xc0\x7f" * (len(b) // 4))
END
    run "a picture without a text tower" 0 '^   1 ' retrieve -w image.safetensors ten.lmdb --image 3
    refused "a text without a text tower" 1 'image.safetensors has no text tower' \
        retrieve -w image.safetensors ten.lmdb -q cat
    refused "captions without a text tower" 1 'no text tower' retrieve -w image.safetensors ten.lmdb
    refused "a model that has diverged" 1 '^duet retrieve: .*finite' retrieve -w diverged.safetensors ten.lmdb -q cat
else
    skip "other models" "python3 makes them"
fi
finish
