"""Draws the pictures of the structures into the documentation's catalogue.

    python3 scripts/docs_pictures.py

A filled cell is a stored number; the shade tells blocks apart.
"""

from html import escape
from pathlib import Path

OUT = Path(__file__).parent.parent / "Sources/Tessera/Tessera.docc/Resources"
BLUE, ORANGE, GREEN, GREY = "#3b7dd8", "#e08a2e", "#3f9d63", "#808080"


class Picture:
    """A list of shapes on a transparent ground, readable on white and on black."""

    def __init__(self, width, height):
        self.size = (width, height)
        self.shapes = []

    def box(self, x, y, width, height, colour=BLUE, opacity=0.8, line=GREY):
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}" '
            f'fill-opacity="{opacity}" stroke="{line}" stroke-width="1"/>')

    def text(self, x, y, words, size=14, anchor="middle"):
        self.shapes.append(
            f'<text x="{x}" y="{y}" font-family="Helvetica, Arial, sans-serif" '
            f'font-size="{size}" text-anchor="{anchor}" fill="{GREY}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, colour=GREY):
        self.shapes.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
            'stroke-width="1.2"/>')

    def arrow(self, x1, x2, y):
        self.line(x1, y, x2, y)
        self.shapes.append(
            f'<path d="M{x2} {y} l-7 -4 v8 z" fill="{GREY}"/>')

    def grid(self, x, y, rows, columns, cell, fill):
        """`fill(row, column)` is (colour, opacity), or None for a zero."""
        for row in range(rows):
            for column in range(columns):
                entry = fill(row, column)
                colour, opacity = entry or (GREY, 0)
                self.box(x + column * cell, y + row * cell, cell, cell, colour, opacity)

    def write(self, name):
        width, height = self.size
        body = "\n  ".join(self.shapes)
        (OUT / f"{name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">\n  {body}\n</svg>\n')


def low_rank():
    p = Picture(480, 180)
    p.box(20, 30, 120, 120)
    p.text(80, 170, "W [N, K]")
    p.text(170, 96, "≈", 22)
    p.box(205, 30, 28, 120, ORANGE)
    p.text(219, 170, "U [N, R]")
    p.box(275, 76, 120, 28, GREEN)
    p.text(335, 124, "V [R, K]")
    p.write("low-rank")


def kronecker():
    shades = [[0.9, 0.35], [0.2, 0.65]]
    inner = [[0.9, 0.5, 0.2], [0.3, 0.8, 0.55], [0.6, 0.15, 0.95]]
    p = Picture(560, 210)
    p.text(20, 106, "Σ", 26)
    p.text(24, 126, "R terms", 11)
    p.grid(60, 70, 2, 2, 30, lambda r, c: (ORANGE, shades[r][c]))
    p.text(90, 152, "L [n0, m0]")
    p.text(150, 106, "⊗", 22)
    p.grid(180, 66, 3, 3, 24, lambda r, c: (BLUE, inner[r][c]))
    p.text(216, 158, "R [n1, m1]")
    p.text(290, 106, "=", 22)
    p.grid(330, 20, 6, 6, 26,
           lambda r, c: (GREEN, round(shades[r // 3][c // 3] * inner[r % 3][c % 3], 3)))
    p.text(408, 196, "one term: every block is R, scaled")
    p.write("kronecker")


def block_diagonal(p, x, y, blocks, side, colours):
    for block in range(blocks):
        p.box(x + block * side, y + block * side, side, side, colours[block])
    p.box(x, y, blocks * side, blocks * side, GREY, 0)


def monarch():
    colours = [BLUE, ORANGE, GREEN]
    p = Picture(560, 190)
    p.text(36, 96, "W  =", 16)
    block_diagonal(p, 70, 30, 3, 40, colours)
    p.text(130, 172, "core 1: b blocks")
    p.text(272, 172, "transpose the pieces")
    for i in range(3):
        for j in range(3):
            top, bottom = 36 + (3 * i + j) * 14, 36 + (3 * j + i) * 14
            p.line(222, top, 322, bottom, colours[j])
    block_diagonal(p, 354, 30, 3, 40, colours)
    p.text(414, 172, "core 0: b blocks")
    p.write("monarch")


def block_tensor_train():
    p = Picture(560, 210)
    p.text(110, 198, "W: n0 × m1 blocks, nothing shared")
    for row in range(3):
        for column in range(3):
            x, y = 20 + column * 60, 10 + row * 56
            p.box(x, y, 54, 50, GREY, 0.08)
            p.box(x + 2, y + 2, 8, 46, ORANGE)
            p.box(x + 14, y + 2, 38, 8, GREEN)
    p.arrow(206, 262, 92)
    p.text(234, 82, "one block", 12)
    p.box(280, 30, 110, 120)
    p.text(335, 172, "[n1, m0]")
    p.text(412, 96, "=", 20)
    p.box(434, 30, 22, 120, ORANGE)
    p.text(445, 172, "[n1, R]", 12)
    p.box(470, 79, 80, 22, GREEN)
    p.text(510, 122, "[R, m0]", 12)
    p.write("block-tensor-train")


def kronecker_sparse():
    a, b, c, d = 2, 2, 3, 2
    colours = [BLUE, ORANGE]

    def fill(row, column):
        i, l = row // (b * d), row % d
        if (i, l) != (column // (c * d), column % d):
            return None
        return (colours[l], 0.85 if i == 0 else 0.5)

    p = Picture(420, 220)
    p.grid(20, 20, a * b * d, a * c * d, 20, fill)
    p.text(20, 204, "the support of one factor, (a, b, c, d) = (2, 2, 3, 2)", anchor="start")
    p.text(340, 80, "a blocks,", 13)
    p.text(340, 98, "in each d interleaved", 13)
    p.text(340, 116, "dense b × c products", 13)
    p.write("kronecker-sparse")


def strassen_tile():
    p = Picture(640, 210)

    def planes(x, colour, name):
        for plane in range(4):
            p.box(x + 10 * plane, 30 + 10 * plane, 70, 70, colour, 0.75)
        p.text(x + 50, 160, name, 12)

    p.grid(20, 40, 4, 4, 20, lambda r, c: (BLUE, 0.85 if (r < 2) == (c < 2) else 0.5))
    p.text(60, 160, "X, tiles t × t", 12)
    p.arrow(108, 152, 80)
    p.text(130, 70, "encode", 12)
    planes(160, GREEN, "R planes [M/t, K/t]")
    p.text(284, 85, "×", 20)
    planes(302, ORANGE, "R planes of the weight")
    p.text(372, 182, "R ordinary products, R < t³", 12)
    p.arrow(424, 474, 80)
    p.text(448, 70, "decode", 12)
    p.grid(490, 40, 4, 4, 20, lambda r, c: (BLUE, 0.85 if (r < 2) == (c < 2) else 0.5))
    p.text(530, 160, "Y, tiles t × t", 12)
    p.write("strassen-tile")


def two_four():
    kept = [[(0, 2), (1, 3), (0, 1)], [(1, 2), (0, 3), (2, 3)],
            [(0, 3), (0, 2), (1, 2)], [(2, 3), (0, 1), (1, 3)]]
    p = Picture(560, 150)
    p.grid(20, 20, 4, 12, 20, lambda r, c: (BLUE, 0.8) if c % 4 in kept[r][c // 4] else None)
    for group in range(1, 3):
        p.line(20 + 80 * group, 12, 20 + 80 * group, 108, ORANGE)
    p.text(140, 132, "W: two of each four along K")
    p.text(285, 66, "=", 20)
    p.grid(310, 20, 4, 6, 20, lambda r, c: (BLUE, 0.8))
    p.text(370, 132, "values [N, K/2]")
    p.grid(455, 20, 4, 6, 14, lambda r, c: (ORANGE, 0.25 + 0.2 * kept[r][c // 2][c % 2]))
    p.text(497, 132, "indices, 0 to 3")
    p.write("two-four")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for draw in [low_rank, kronecker, monarch, block_tensor_train, kronecker_sparse,
                 strassen_tile, two_four]:
        draw()
