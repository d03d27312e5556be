extension TextPreparation {
  /// What the Python child runs: files → paragraphs → documents → tokens.
  ///
  /// Markup is taken off by patterns rather than parsed: documentation comes in hundreds of
  /// megabytes, and what is wanted is the running text.
  static let script = #"""
    import gzip, hashlib, html, re, struct
    from array import array

    TYPES = {
        "html": ("html", "htm", "xhtml"),
        "pod": ("pod",),
        "roff": ("1", "2", "3", "4", "5", "6", "7", "8", "3perl", "3posix", "1p", "3p"),
        "plain": ("", "txt", "text", "md", "rst", "adoc", "asciidoc", "info", "dict", "tex", "texi"),
    }
    KIND = {ending: kind for kind, endings in TYPES.items() for ending in endings}

    def kind_of(path):
        name = os.path.basename(path)
        if name.endswith((".gz", ".dz")):
            name = name[:-3]
        return KIND.get(name.rpartition(".")[2].lower() if "." in name else "")

    def walk(source):
        if os.path.isfile(source):
            # A file that is named is text, whatever its name.
            return [(source, kind_of(source) or "plain")]
        if not os.path.isdir(source):
            fail(f"expected a file or folder at {source}, found none.")
        found = []
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and kind_of(path):
                    found.append((path, kind_of(path)))
        return found

    def read(path):
        try:
            with (gzip.open if path.endswith((".gz", ".dz")) else open)(path, "rb") as file:
                data = file.read()
        except (OSError, EOFError) as error:
            fail(f"cannot read {path}: {error}")
        if b"\0" in data[:4096]:
            return ""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    DROPPED = re.compile(
        r"<!--.*?-->|<(script|style|head|nav|header|footer|svg|select|button)\b.*?</\1\s*>", re.S | re.I)
    PRE = re.compile(r"<pre\b[^>]*>(.*?)</pre\s*>", re.S | re.I)
    BLOCK = re.compile(
        r"</?(p|div|h[1-6]|ul|ol|dl|table|section|article|blockquote|body|html|main|form)\b[^>]*>", re.I)
    LINE = re.compile(r"<(br|li|tr|dt|dd)\b[^>]*>|</(li|tr|dt|dd)\s*>", re.I)
    TAG = re.compile(r"<[a-zA-Z/!?][^>]*>")
    SPACE = re.compile(r"\s+")

    MAIN = re.compile(r"<main\b|<\w+\b[^>]*\brole=.main.", re.I)
    SIDE = re.compile(r"<div\b[^>]*\bclass=.(sphinxsidebar|related|navfooter)\b", re.I)

    def from_html(text):
        # Where the page says which part of it is the text, the rest is navigation.
        begin = MAIN.search(text)
        if begin:
            end = SIDE.search(text, begin.end())
            text = text[begin.start():end.start() if end else len(text)]
        out = []
        for index, piece in enumerate(PRE.split(DROPPED.sub(" ", text))):
            if index % 2 == 0:
                piece = BLOCK.sub("\1", LINE.sub("\2", SPACE.sub(" ", piece)))
                piece = TAG.sub("", piece).replace("\1", "\n\n").replace("\2", "\n")
            else:
                piece = "\n\n" + TAG.sub("", piece) + "\n\n"
            out.append(html.unescape(piece))
        return "".join(out)

    def from_roff(text):
        out = []
        for line in text.split("\n"):
            if line.startswith((".", "'")):
                name, _, rest = line[1:].strip().partition(" ")
                if name in ("SH", "SS", "PP", "P", "TP", "IP", "LP", "sp", "Sh", "Ss", "Pp", "It"):
                    out.append("")
                if line[1:3] == '\\"' or name in ("TH", "so", "de", "ds", "if", "ie", "el", "nr", "ft", "ad", "Dd"):
                    continue
                line = rest.replace('"', "")
            out.append(line)
        text = "\n".join(out)
        text = re.sub(r"\\f(\[[^]]*\]|\(..|.)", "", text)
        text = re.sub(r"\\s[-+]?\d", "", text)
        text = text.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").replace("\\(aq", "'")
        return re.sub(r"\\[*]?\((..)", r"\1", text)

    def from_pod(text):
        text = re.sub(r"^=(\w+) *", "", text, flags=re.M)
        return re.sub(r"[A-Z]<([^<>]*)>", r"\1", text)

    READERS = {"html": from_html, "roff": from_roff, "pod": from_pod, "plain": lambda text: text}
    KEY = re.compile(r"[\W_]+")
    seen, dropped = set(), 0

    def new_paragraphs(text):
        """Paragraphs of which no earlier one had the same letters: layout and markup do not count."""
        global dropped
        for paragraph in re.split(r"\n[ \t\r]*\n\s*", text):
            paragraph = "\n".join(line.rstrip() for line in paragraph.strip("\n").split("\n"))
            key = KEY.sub("", paragraph).lower()
            if len(key) >= settings["paragraph"]:
                digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
                if digest in seen:
                    dropped += 1
                    continue
                seen.add(digest)
            if key:
                yield paragraph

    def documents(path, kind):
        """Documents of a file: one, or pieces at paragraphs where the file is long."""
        text = re.sub(".\b", "", read(path)).replace("\r\n", "\n").replace("\f", "\n\n")
        text = READERS[kind](text)
        parts, size = [], 0
        for paragraph in new_paragraphs(text):
            parts.append(paragraph)
            size += len(paragraph)
            if size >= settings["longest"]:
                yield "\n\n".join(parts)
                parts, size = [], 0
        if parts:
            yield "\n\n".join(parts)

    def is_text(document):
        letters = sum(map(str.isalpha, document[:20000]))
        spaces = sum(map(str.isspace, document[:20000]))
        return len(document) >= settings["shortest"] and letters + spaces >= 0.6 * min(len(document), 20000)

    def place(document):
        """The hash that decides the part: the lowest are held out."""
        digest = hashlib.blake2b(document.encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    files = sorted({entry for source in settings["sources"] for entry in walk(source)})
    if not files:
        fail("expected text files (html, txt, md, rst, pod, man pages; also with .gz), found none.")
    parts = ("train", "validation")
    counts = {part: {"documents": 0, "characters": 0, "tokens": 0} for part in parts}
    total_bytes = sum(os.path.getsize(path) for path, _ in files) or 1
    done = 0
    texts = {part: open(f".{part}.text", "wb") for part in parts}

    def store(part, document):
        data = document.encode("utf-8", "replace")
        texts[part].write(struct.pack("<Q", len(data)) + data)
        counts[part]["documents"] += 1
        counts[part]["characters"] += len(document)

    for path, kind in files:
        for document in filter(is_text, documents(path, kind)):
            store(parts[place(document) < settings["validation"] * 2**64], document)
        done += os.path.getsize(path)
        found = sum(count["characters"] for count in counts.values())
        progress("read", done, total_bytes, f"{found / 1e6:.1f} million characters")
    for file in texts.values():
        file.close()

    def stored(part):
        with open(f".{part}.text", "rb") as file:
            while head := file.read(8):
                yield file.read(struct.unpack("<Q", head)[0]).decode("utf-8")

    # The hashes of a few documents may all lie on one side: then the one nearest to the other goes there.
    for part, other, nearest in (("validation", "train", min), ("train", "validation", max)):
        if counts[part]["documents"]:
            continue
        if counts[other]["documents"] < 2:
            fail(f"expected documents for both parts, got none for {part}; give more text.")
        few = list(stored(other))
        moved = nearest(few, key=place)
        few.remove(moved)
        for name, chosen in ((part, [moved]), (other, few)):
            counts[name].update(documents=0, characters=0)
            with open(f".{name}.text", "wb") as texts[name]:
                for document in chosen:
                    store(name, document)

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    if settings["tokenizer"]:
        try:
            tokenizer = Tokenizer.from_file(settings["tokenizer"])
        except Exception as error:
            fail(f"cannot read the tokenizer {settings['tokenizer']}: {error}")
    else:
        # Merges do not change with more text than this: every so many documents are enough.
        stride = max(1, counts["train"]["characters"] // settings["sample"])
        def training_texts():
            for index, document in enumerate(stored("train")):
                progress("collect words", index, counts["train"]["documents"])
                if index % stride == 0:
                    yield document
            progress("merge pairs", 0, 1, f"{settings['vocabulary']} tokens")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(training_texts(), trainers.BpeTrainer(
            vocab_size=settings["vocabulary"], special_tokens=["<|endoftext|>"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    separators = ("<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "[SEP]")
    separator = next((tokenizer.token_to_id(name) for name in separators
                      if tokenizer.token_to_id(name) is not None), None)
    if separator is None:
        fail(f"expected a tokenizer with one of the tokens {', '.join(separators)}, found none.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save("tokenizer.json")
    vocabulary = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    kind = "H" if vocabulary <= 1 << 16 else "I"

    def little_endian(code, values):
        packed = array(code, values)
        if sys.byteorder == "big":
            packed.byteswap()
        return packed.tobytes()

    for part in parts:
        with open(f"{part}.tokens", "wb") as tokens, open(f"{part}.ends", "wb") as ends:
            def flush(batch):
                for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
                    tokens.write(little_endian(kind, encoding.ids + [separator]))
                    counts[part]["tokens"] += len(encoding.ids) + 1
                    ends.write(little_endian("Q", [counts[part]["tokens"]]))
            batch, size, count = [], 0, 0
            for document in stored(part):
                batch.append(document)
                size += len(document)
                count += 1
                if size >= 1 << 22:
                    flush(batch)
                    batch, size = [], 0
                    progress(f"tokens of {part}", count, counts[part]["documents"],
                             f"{counts[part]['tokens'] / 1e6:.1f} million")
            flush(batch)
            progress(f"tokens of {part}", count, counts[part]["documents"],
                     f"{counts[part]['tokens'] / 1e6:.1f} million")
        os.remove(f".{part}.text")
    finish({"vocabulary": vocabulary, "separator": separator, "wide": kind == "I", "files": len(files),
            "dropped": dropped, "counts": counts})
    """#
}
