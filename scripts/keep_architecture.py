"""Blanks a CUDA library's device code for all GPU architectures but one, so that it compresses.

usage: keep_architecture.py SOURCE TARGET SM        e.g. keep_architecture.py libmlx.so small.so 90

Layout and size stay. A fat binary is a header (magic, version, header size, length) and entries
(kind, version, header size, payload length, …, architecture at byte 28); only payloads are zeroed,
and the driver never loads the ones of other architectures.
"""

import pathlib
import struct
import sys

MAGIC = (0xBA55ED50).to_bytes(4, "little")
MACHINE_CODE = 2


def keep(image: bytearray, architecture: int) -> int:
    """Zeroes the other payloads in place and returns how many bytes of machine code stay."""
    kept = 0
    position = 0
    while (position := image.find(MAGIC, position)) >= 0:
        version, header, length = struct.unpack_from("<HHQ", image, position + 4)
        end = position + header + length
        if version != 1 or header != 16 or end > len(image):
            position += len(MAGIC)
            continue
        entry = position + header
        while entry < end:
            kind, _, size, payload = struct.unpack_from("<HHIQ", image, entry)
            (target,) = struct.unpack_from("<I", image, entry + 28)
            if kind == MACHINE_CODE and target == architecture:
                kept += payload
            else:
                image[entry + size : entry + size + payload] = bytes(payload)
            entry += size + payload
        position = end
    return kept


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source, target, architecture = sys.argv[1:]
    image = bytearray(pathlib.Path(source).read_bytes())
    if keep(image, int(architecture)) == 0:
        sys.exit(f"keep_architecture: {source} holds no machine code for sm_{architecture}")
    pathlib.Path(target).write_bytes(image)
