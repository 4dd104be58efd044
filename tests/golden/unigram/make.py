#!/usr/bin/env python3
"""Makes cases.json: what Hugging Face's tokenizers makes of some texts, with vocabularies trained here on the text below.

    pip install tokenizers && python make.py > cases.json      # the file that tests/unigram.c reads
    python make.py FOLDER COUNT                                # whole tokenizer.json files and COUNT texts, to compare at length

Training differs in the last bits from one run to the next; what was trained is stored with what came of it.
Only characters of Unicode 3.2 are used: the library's tables of marks and normal forms are older than those of utf8proc.
"""
import base64
import copy
import json
import os
import random
import struct
import sys
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

META = "\u2581"

SUBJECTS = """a red fox|two dogs|an old man|the young woman|a small boat|three children|my neighbour's cat|a wooden table|
the tall lighthouse|a yellow taxi|some green apples|a striped zebra|the brass clock|a bowl of soup|an astronaut|the violin player|
a market stall|a paper kite|the stone bridge|a sleeping baby|a flock of birds|the birthday cake|a rusty bicycle|an empty street"""
VERBS = """sits on|runs across|looks at|is standing near|hangs above|lies under|is painted beside|jumps over|waits behind|
shines through|rests against|drifts along|is reflected in|walks toward|plays with|is photographed from"""
PLACES = """the kitchen floor|a snowy mountain|the crowded beach|an open window|the railway station|a field of sunflowers|
the old harbour|a dark forest|the city at night|a quiet library|the museum's garden|a rainy afternoon|the edge of the river|the blue sky"""
EXTRA = ["Café au lait costs €3.50 today!", "Größe: 42, Straße 7, schön.", "El niño corrió hacia la montaña.", "12:30 on 2024-05-17",
         "photo of a photo, e.g. #1 & #2", "hello hello hello", "北京的天空 is blue", "東京タワーの写真", "сова сидит на дереве",
         "το σπίτι είναι λευκό", "e-mail: someone@example.org", "100% cotton (machine-washable)", "naïve façade", "¡Hola! ¿Qué tal?"]


def corpus():
    subjects, verbs, places = ([part.strip() for part in text.split("|")] for text in (SUBJECTS, VERBS, PLACES))
    texts = []
    for i, subject in enumerate(subjects):
        for j, verb in enumerate(verbs):
            text = f"{subject} {verb} {places[(i * 7 + j * 3) % len(places)]}"
            text = f"A photo of {text}." if (i + j) % 3 == 0 else text
            texts.append(text.upper() if (i + j) % 7 == 0 else text)
    return texts + EXTRA * 3


def train():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=320, special_tokens=special, unk_token="<unk>",
                                                                    max_piece_length=10, show_progress=False))
    return json.loads(tokenizer.to_str())["model"]["vocab"]


def characters_map():
    """A small normalisation in the manner of SentencePiece's."""
    pairs = {chr(c): " " if c in (9, 10, 13) else "" for c in [*range(1, 32), 127]}
    pairs.update({c: " " for c in "\u00a0\u2003\u3000\u200b\ufeff\u2028"})
    for c in map(chr, [*range(0xff01, 0xff5f), *range(0xc0, 0x17f), 0x2126, 0xfb01, 0xfb02, 0x2460, 0x2163, 0x2026, 0x2122]):
        if unicodedata.normalize("NFKC", c) != c:
            pairs[c] = unicodedata.normalize("NFKC", c)
    for c in (base + mark for base in "aeiouAEIOUcn" for mark in "\u0300\u0301\u0302\u0303\u0308\u0327"):
        if len(unicodedata.normalize("NFC", c)) == 1:
            pairs[c] = unicodedata.normalize("NFC", c)
    pairs.update({"\u0958": "\u0915\u093c", "½": "1\u20442", "Q": "q"})
    return pairs


def double_array(pairs):
    """Darts-clone's layout, filled first-fit; base64 as a tokenizer.json has it."""
    pool, root = b"", {}
    for key, value in pairs.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = len(pool)
        pool += value.encode() + b"\0"
    units, used, bases = [], [], set()

    def place(node, at):
        labels = [label or 0 for label in node]
        base = 1
        while True:
            while base | 255 >= len(units):
                units.extend([0] * 256)
                used.extend([not used] + [False] * 255)
            if base not in bases and base ^ at < 1 << 21 and not any(used[base ^ label] for label in labels):
                break
            base += 1
        bases.add(base)
        for label in labels:
            used[base ^ label] = True
        units[at] |= (base ^ at) << 10 | (None in node) << 8
        for label, child in node.items():
            units[base ^ (label or 0)] = child | 1 << 31 if label is None else label
        for label, child in node.items():
            if label is not None:
                place(child, base ^ label)

    units.extend([0] * 256)
    used.extend([True] + [False] * 255)
    place(root, 0)
    return base64.b64encode(struct.pack(f"<{len(units) + 1}I", 4 * len(units), *units) + pool).decode()


def template(before, after, vocab):
    ids = {text: id for id, (text, _) in enumerate(vocab)}
    special = [{"SpecialToken": {"id": text, "type_id": 0}} for text in before + after]
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {"type": "TemplateProcessing", "single": special[:len(before)] + [a] + special[len(before):], "pair": [a, b],
            "special_tokens": {text: {"id": text, "ids": [ids[text]], "tokens": [text]} for text in before + after}}


def added(vocab, **tokens):
    ids, entries, fresh = {text: id for id, (text, _) in enumerate(vocab)}, [], len(vocab)
    for text, flags in tokens.items():
        entry = {"id": ids.get(text, fresh), "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True}
        fresh += text not in ids
        entries.append({**entry, **flags})
    return entries


def one(type, **settings):
    return {"type": type, **settings}


def meta(scheme="always", split=True):
    return one("Metaspace", replacement=META, prepend_scheme=scheme, split=split)


def normal(*steps):
    return one("Sequence", normalizers=list(steps))


def pre(*steps):
    return one("Sequence", pretokenizers=list(steps))


def regex(pattern, content):
    return one("Replace", pattern={"Regex": pattern}, content=content)


def text(pattern, content):
    return one("Replace", pattern={"String": pattern}, content=content)


PUNCTUATION = r"""[!\"\#\$%\&'\(\)\*\+,\-\.:;=\?@\[\\\]\^_`\{\|\}\~]"""
BYTES = [[f"<0x{byte:02X}>", -20.0] for byte in range(256) if byte != 0xf4]


def files(vocab):
    """Name: a tokenizer.json. The vocabulary of each is `vocab`, with more behind it, or one of its own."""
    model = one("Unigram", unk_id=2, vocab=vocab, byte_fallback=False)
    in_bytes = {**model, "vocab": vocab + BYTES, "byte_fallback": True}
    charsmap = one("Precompiled", precompiled_charsmap=double_array(characters_map()))
    strip = one("Strip", strip_left=True, strip_right=True)
    sticky, alone = {"lstrip": True, "rstrip": True}, {"single_word": True, "special": False}
    plain = {"<unk>": {}}

    def file(normalizer, pre_tokenizer, tokens, post=None, decoder=None, model=model):
        return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(model["vocab"], **tokens),
                "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post, "decoder": decoder, "model": model}

    def own(vocab):
        return file(None, None, {}, model=one("Unigram", unk_id=0, vocab=[["<unk>", 0.0]] + vocab, byte_fallback=False))

    end = template([], ["</s>"], vocab)
    both = template(["<pad>"], ["</s>"], vocab)
    r = random.Random(5)
    ab = {"".join(r.choice("ab") for _ in range(r.randint(1, 5))): -r.choice([1, 2, 3, 1.5]) for _ in range(40)}
    repeats = [["a" * k, -(k * 2.1 + r.random() * 1e-3)] for k in range(1, 7)] + [["ab" * k, -k * 3.3 - r.random() * 1e-9] for k in range(1, 5)]
    result = {
        "siglip": file(normal(one("Lowercase"), regex(PUNCTUATION, ""), regex(r"\s+", " "), strip, charsmap), meta(),
                       {"</s>": sticky, "<unk>": sticky}, end, meta()),
        "t5": file(charsmap, pre(one("WhitespaceSplit"), meta()),
                   {"<pad>": {}, "</s>": {}, "<unk>": {}, **{f"<extra_id_{i}>": {} for i in range(12)}}, end, meta()),
        "xlmr": file(normal(charsmap, regex(" {2,}", " ")), meta("first"),
                     {"<pad>": {}, "</s>": {}, "<unk>": {}, "<mask>": {"lstrip": True, "normalized": True}}, both, meta("first")),
        "bytes": file(normal(one("NFKC"), one("Prepend", prepend=META), text(" ", META)), None, {"<unk>": {}, "</s>": {"rstrip": True}}, end,
                      one("Sequence", decoders=[one("ByteFallback"), meta()]), in_bytes),
        "words": file(normal(one("NFD"), one("StripAccents"), one("Nmt")), pre(one("Whitespace"), one("Punctuation"), meta("never")),
                      {"<unk>": {}, "photo": alone, "dog": {**alone, "normalized": True}, "  x ": sticky}, None, meta("never")),
        "albert": file(normal(text("``", '"'), one("NFKD"), one("StripAccents"), one("Lowercase"), regex(r"[^\w\s]{3,}", "~"),
                              regex(r"\p{N}+(?=%)|\d\d\d", META + "7")), meta("always", False),
                       {"<pad>": {}, "</s>": {}, "<unk>": {"normalized": True}}, both),
        "first": file(normal(one("Strip", strip_left=True, strip_right=False), regex("^[#*]+", ""), regex("^-{2,}", "-")),
                      pre(one("WhitespaceSplit"), meta("first")), {"<unk>": {}, "</s>": {"rstrip": True}}, None, meta("first")),
        "ties": own([[piece, score] for piece, score in ab.items()]),
        "repeats": own(repeats + [["b", -3.2]]),
        "positive": own([["a", 101.0], ["xy", 100.5], ["b", 120.0], ["ab", 130.0]]),
    }
    result["positive"]["model"]["vocab"][0][1] = 100.0
    for behaviour in ("Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
        result[behaviour] = file(one("NFC"), pre(one("Punctuation", behavior=behaviour), meta("first")), plain, None, meta("first"))
    return result


def texts(r, count):
    captions = corpus()
    old = unicodedata.ucd_3_2_0
    assigned = [chr(c) for c in range(0x80, 0x20000) if old.category(chr(c)) not in ("Cn", "Co", "Cs")]
    marks = [c for c in assigned if old.combining(c)]
    spaces = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x85", "\x0b", "\ufeff", "\u180e"]
    pictures = ["☃", "❤\ufe0f", "😀", "👩\u200d🔬", "👍🏽", "🇩🇪", "1\ufe0f\u20e3"]
    special = ["</s>", "<unk>", "<pad>", "<extra_id_3>", "<extra_id_11>", "<mask>", "photo", "dog", "dogs", "  x ", META, "``", "100%",
               "12345", "...", "!?!", "#", "**", "½", "ﬁ", "A\u030a", "İ", "ẞ", "ΣΑΣ", "Q\u0301"]
    yield from ["", " ", "   ", "!!!", "\n", "</s>", " </s> ", "a</s>b", "\u0301", "a\u0301\u0327", "  a", "** a", "a" * 30, "ab" * 9, "xyxyab"]
    for _ in range(count):
        kind = r.random()
        if kind < 0.12:
            yield r.choice(captions)
        elif kind < 0.2:
            yield "".join(r.choice("abxy" if kind < 0.15 else "ab") for _ in range(r.randint(1, 40)))
        elif kind < 0.22:
            yield "".join(r.choice("lighthouseMOUNTAIN1") for _ in range(r.randint(40, 90)))
        else:
            kinds = [lambda: r.choice(r.choice(captions).split()), lambda: r.choice(r.choice(captions).split()), lambda: r.choice(spaces),
                     lambda: r.choice(special), lambda: r.choice("aeiouncAE") + r.choice("\u0300\u0301\u0308\u0327\u0323"),
                     lambda: chr(r.randint(1, 127)), lambda: "".join(r.choice(marks) for _ in range(r.randint(1, 4))),
                     lambda: chr(r.randint(0xa0, 0x17f)), lambda: r.choice(pictures), lambda: r.choice(assigned)]
            yield "".join(r.choice(kinds)() + " " * (r.random() < 0.5) for _ in range(r.randint(1, 9)))


def case(tokenizer, text):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}


def padded(tokenizer, text, padding):
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=12, pad_id=padding)
    return tokenizer.encode(text).ids


# Texts that single out a rule, beside the random ones.
POINTED = {
    "first": ["a", " a", "##a", "--a b", "-a", "a</s> b", "a </s>\u3000 b</s>a"],
    "siglip": ["A </s> b", "a\u3000<unk>\tb", "Q\u0301 a\u0301\u0327"],
    "words": ["photo photos", "(photo)", "dog,dog_dog", "a\u200db\u200cc photo\u200d", "photo\u200c dog\u200c", "photo  x  photo", "\u24d0\u24d1 \u203f"],
    "bytes": ["a </s> \u3000 b", "</s>  ", "é\U0001f600"],
    "xlmr": ["a  <mask> b", "<mask>", "  a   b"],
    "repeats": ["a" * length for length in range(2, 40)] + ["ab" * length for length in range(2, 20)],
    "positive": ["xyab", "ccc", "xyxyc"],
}

PADDING = {"siglip": 1, "t5": 0, "xlmr": 0, "bytes": 1, "albert": 0}


def main():
    vocab = train()
    whole = files(vocab)
    r = random.Random(7)
    if len(sys.argv) == 3:
        for name, file in whole.items():
            with open(os.path.join(sys.argv[1], name + ".json"), "w") as out:
                json.dump(file, out, ensure_ascii=False)
        with open(os.path.join(sys.argv[1], "texts"), "w") as out:
            json.dump(list(texts(r, int(sys.argv[2]))), out)
        return
    result = {"vocabulary": vocab, "bytes": BYTES, "files": {}, "cases": {}}
    for name, file in whole.items():
        tokenizer = Tokenizer.from_str(json.dumps(file))
        short = [*texts(r, 10), *POINTED.get(name, [])]
        result["cases"][name] = [case(tokenizer, text) for text in short]
        for entry in result["cases"][name]:
            if name in PADDING:
                entry["padded"] = padded(tokenizer, entry["text"], PADDING[name])
        file = copy.deepcopy(file)
        if file["model"]["vocab"][:len(vocab)] == vocab:
            file["model"]["vocab"] = ["vocabulary", "bytes"] if len(file["model"]["vocab"]) > len(vocab) else ["vocabulary"]
        result["files"][name] = file
    lines = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    print(lines.replace('{"text":', '\n{"text":').replace('],"cases"', '],\n"cases"'))


main()
