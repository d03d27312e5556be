"""Prints the layers of a record of `tessera bench layer` (scripts/gpu/record_factors), the fastest path of each structure and the dense product
over it. The pairs of widths up to 4096 with 25088 rows come first, with time over limit (one read of x and one write of y at a copy's rate, or
the arithmetic where that takes longer) and the median of that.

usage: pair_table.py benchmarks/factors-swift-h200.json [--copy 4.25e12] [--rate 792e12]
"""

import argparse
import json
import statistics

parser = argparse.ArgumentParser()
parser.add_argument("record")
parser.add_argument("--copy", type=float, default=4.25e12, help="bytes a second, read and written")
parser.add_argument("--rate", type=float, default=792e12, help="operations a second")
options = parser.parse_args()

shares, others = [], []
for layer in json.load(open(options.record))["layers"]:
    rows, inputs, outputs = layer["shape"]
    best = {}
    for row in layer["rows"]:
        seconds = statistics.median(row["timing"]["seconds"])
        best[row["name"]] = min(best.get(row["name"], (1e9, 0)), (seconds, row["multiplyAdds"]))
    dense = best.pop("dense")[0]
    for name, (seconds, operations) in best.items():
        text = f"{seconds * 1e3:.4f} ms", f"dense x {dense / seconds:.2f}"
        if rows != 25088 or inputs > 4096 or layer["backward"] or not name.startswith(("btt", "monarch", "lowrank")):
            others.append(f"{rows} x {inputs} {name[:24]:24s}{' backward' if layer['backward'] else ''} {'  '.join(text)}")
            continue
        limit = max(2 * rows * (inputs + outputs) / options.copy, 2 * rows * operations / options.rate)
        shares.append(seconds / limit)
        print(f"{inputs:5d} {name:20s} {text[0]}  limit x {seconds / limit:.2f}  {text[1]}")
print(f"{len(shares)} pairs: median {statistics.median(shares):.2f}, {sum(s <= 1.6 for s in shares)} within 1.6")
print("\n".join(others))
