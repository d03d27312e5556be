extension ImagePreparation {
  /// What the Python child runs for fonts: files → faces that have all characters → groups of faces
  /// that look alike or share a name → one image a character.
  static let fontScript = #"""
    import logging
    import numpy as np
    from fontTools.ttLib import TTCollection, TTFont
    from PIL import Image, ImageDraw, ImageFont
    logging.disable(logging.CRITICAL)

    size, characters = settings["size"], settings["characters"]
    files = []
    for source in settings["sources"]:
        for folder, folders, names in os.walk(source):
            folders.sort()
            files += [os.path.join(folder, name) for name in names
                      if name.lower().endswith((".ttf", ".otf", ".ttc")) and not
                      os.path.islink(os.path.join(folder, name))]
        if os.path.isfile(source):
            files.append(source)
    files.sort()
    if not files:
        fail("expected font files (ttf, otf, ttc), found none; scripts/data/fonts fetches some.")

    def family_of(font):
        names = font["name"]
        return (names.getDebugName(16) or names.getDebugName(1) or "").strip()

    def faces(path):
        """Family and index of each face of a file that maps all characters to glyphs."""
        try:
            fonts = TTCollection(path, lazy=True).fonts if path.lower().endswith(".ttc") else [
                TTFont(path, lazy=True)]
            return [(family_of(font), index) for index, font in enumerate(fonts)
                    if set(map(ord, characters)) <= set(font.getBestCmap() or ())]
        except Exception:
            return []

    def rendered(path, index):
        """The characters [n, size, size] on one base line at one scale, each centred across; None if
        one is blank or two look the same."""
        try:
            probe = ImageFont.truetype(path, 4 * size, index=index, layout_engine=ImageFont.Layout.BASIC)
            boxes = [probe.getbbox(character, anchor="ls") for character in characters]
        except Exception:
            return None
        top = min(box[1] for box in boxes)
        bottom = max(box[3] for box in boxes)
        width = max(box[2] - box[0] for box in boxes)
        room = size - 2 * max(1, size // 16)
        scale = min(room / max(1, bottom - top), room / max(1, width))
        try:
            font = ImageFont.truetype(path, 4 * size * scale, index=index,
                                      layout_engine=ImageFont.Layout.BASIC)
        except Exception:
            return None
        base = (size - (top + bottom) * scale) / 2
        images = np.zeros((len(characters), size, size), np.uint8)
        for index, character in enumerate(characters):
            image = Image.new("L", (size, size))
            left, _, right, _ = font.getbbox(character, anchor="ls")
            ImageDraw.Draw(image).text(((size - left - right) / 2, base), character, 255, font, "ls")
            images[index] = np.asarray(image)
        if images.reshape(len(characters), -1).max(1).min() < 128:
            return None
        # A font of symbols or of capitals alone draws some characters alike.
        distinct = len({image.tobytes() for image in images})
        return images if distinct == len(characters) else None

    sheets, families, origins, seen, lacking = [], [], [], set(), 0
    for done, path in enumerate(files):
        progress("draw fonts", done, len(files), f"{len(sheets)} faces")
        found = faces(path)
        lacking += not found
        for family, index in found:
            sheet = rendered(path, index)
            if sheet is None:
                lacking += 1
                continue
            digest = sheet.tobytes()
            if digest in seen:
                continue
            seen.add(digest)
            sheets.append(sheet)
            families.append(family or os.path.basename(path))
            origins.append(os.path.basename(path))
    progress("draw fonts", len(files), len(files), f"{len(sheets)} faces")
    if len(sheets) < 2:
        fail(f"expected at least two fonts with all of {characters}, found {len(sheets)}.")

    # Groups: the first word of the family's name, and whatever looks like a member, so that a copy
    # of a design under another name is never on the other side.
    group = list(range(len(sheets)))
    def root(index):
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index
    first = {}
    for index, family in enumerate(families):
        word = family.split()[0].lower() if family.split() else family
        group[root(index)] = root(first.setdefault(word, index))
    by_name = len({root(index) for index in range(len(sheets))})
    flat = np.stack(sheets).reshape(len(sheets), -1).astype(np.float32)
    norms = (flat * flat).sum(1)
    alike = 0
    # Squared distances relative to the mean ink of the two.
    distances = norms[:, None] + norms[None] - 2 * (flat @ flat.T)
    close = distances < settings["alike"] * (norms[:, None] + norms[None]) / 2
    for one, other in zip(*np.nonzero(np.tril(close, -1))):
        if root(one) != root(other):
            alike += 1
            group[root(one)] = root(other)
    groups = {}
    for index in range(len(sheets)):
        groups.setdefault(root(index), []).append(index)

    import hashlib
    def rank(members):
        name = min(families[index] for index in members)
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    order = sorted(groups.values(), key=rank)
    # Groups in the order of their hash, until the share is reached; the big ones train, so that no
    # single design is most of what is judged by.
    wanted, held = settings["validation"] * len(sheets), []
    for members in order:
        if len(members) <= max(1, wanted / 8) and len(held) + len(members) <= wanted:
            held += members
    if not held:
        held = list(min(order, key=len))
    held = set(held)
    if len(held) == len(sheets):
        fail("expected fonts of at least two families, found one; name more fonts.")
    counts, fonts = {}, {}
    for part in ("train", "validation"):
        members = [index for index in range(len(sheets)) if (index in held) == (part == "validation")]
        with open(f"{part}.images", "wb") as images, open(f"{part}.labels", "wb") as labels:
            for index in members:
                images.write(sheets[index].tobytes())
                labels.write(np.arange(len(characters), dtype="<i4").tobytes())
        counts[part] = len(members) * len(characters)
        fonts[part] = [len(members), len({root(index) for index in members})]
    with open("fonts.tsv", "w") as file:
        for index in range(len(sheets)):
            part = "validation" if index in held else "train"
            file.write(f"{part}\t{families[root(index)]}\t{families[index]}\t{origins[index]}\n")
    finish({"counts": counts, "channels": 1, "classes": list(characters), "skipped": lacking,
            "facts": {"files": [len(files)], "faces": [fonts["train"][0], fonts["validation"][0]],
                      "groups": [fonts["train"][1], fonts["validation"][1]],
                      "families": [len(set(families))], "alike": [alike]}})
    """#

  /// What the Python child runs for folders of classes: pictures → one size.
  static let folderScript = #"""
    import hashlib
    import numpy as np
    from PIL import Image

    size, root = settings["size"], settings["sources"][0]
    ENDINGS = (".jpeg", ".jpg", ".png", ".ppm", ".bmp", ".webp", ".gif", ".tif", ".tiff")

    def classes_of(folder):
        return sorted(name for name in os.listdir(folder)
                      if os.path.isdir(os.path.join(folder, name)) and not name.startswith("."))

    def pictures(folder, names):
        found = []
        for label, name in enumerate(names):
            for below, folders, files in os.walk(os.path.join(folder, name)):
                folders.sort()
                found += [(os.path.join(below, file), label) for file in sorted(files)
                          if file.lower().endswith(ENDINGS)]
        return found

    if not os.path.isdir(root):
        fail(f"expected a folder of classes at {root}, found none.")
    top = classes_of(root)
    held = next((name for name in ("val", "validation", "test") if name in top), None)
    if "train" in top and held:
        classes = classes_of(os.path.join(root, "train"))
        others = classes_of(os.path.join(root, held))
        if others != classes:
            fail(f"expected the same classes in train and {held}, got {len(classes)} and {len(others)}.")
        split = {"train": pictures(os.path.join(root, "train"), classes),
                 "validation": pictures(os.path.join(root, held), classes)}
    else:
        classes = top
        split = {"train": [], "validation": []}
        for path, label in pictures(root, classes):
            with open(path, "rb") as file:
                digest = hashlib.blake2b(file.read(), digest_size=8).digest()
            part = int.from_bytes(digest, "big") < settings["validation"] * 2**64
            split["validation" if part else "train"].append((path, label))
    if len(classes) < 2:
        fail(f"expected at least two folders of pictures in {root}, found {len(classes)}.")
    for part, members in split.items():
        if not members:
            fail(f"expected pictures for {part}, found none; give more, or another --validation.")

    def decoded(path):
        """The middle square of a picture, at the size."""
        with Image.open(path) as image:
            # Decodes at a fraction of the size where the format can.
            image.draft("RGB", (2 * size, 2 * size))
            image = image.convert("RGB")
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            return image.resize((size, size), Image.Resampling.BICUBIC,
                                box=(left, top, left + side, top + side))

    counts, skipped = {}, 0
    for part, members in split.items():
        counts[part] = 0
        with open(f"{part}.images", "wb") as images, open(f"{part}.labels", "wb") as labels:
            for done, (path, label) in enumerate(members):
                progress(f"pictures of {part}", done, len(members), f"{skipped} unreadable")
                try:
                    data = np.asarray(decoded(path)).tobytes()
                except Exception:
                    skipped += 1
                    continue
                images.write(data)
                labels.write(np.array([label], "<i4").tobytes())
                counts[part] += 1
        progress(f"pictures of {part}", len(members), len(members), f"{skipped} unreadable")
        if not counts[part]:
            fail(f"expected pictures that can be decoded for {part}, found none.")
    finish({"counts": counts, "channels": 3, "classes": classes, "skipped": skipped, "facts": {}})
    """#
}
