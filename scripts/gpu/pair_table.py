"""Prints time over limit of the pairs of widths up to 4096 with 25088 rows in a record of `tessera bench layer`
(scripts/gpu/record_factors), the fastest path of each, and the median. The limit is one read of x and one write of y at a copy's rate, or
the arithmetic where that takes longer.

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

shares = []
for layer in json.load(open(options.record))["layers"]:
    rows, inputs, outputs = layer["shape"]
    if rows != 25088 or inputs > 4096 or layer["backward"]:
        continue
    best = {}
    for row in layer["rows"]:
        seconds = statistics.median(row["timing"]["seconds"])
        best[row["name"]] = min(best.get(row["name"], (1e9, 0)), (seconds, row["multiplyAdds"]))
    dense = best.pop("dense")[0]
    for name, (seconds, operations) in best.items():
        if not name.startswith(("btt", "monarch", "lowrank")):
            continue
        limit = max(2 * rows * (inputs + outputs) / options.copy, 2 * rows * operations / options.rate)
        shares.append(seconds / limit)
        print(f"{inputs:5d} {name:20s} {seconds * 1e3:.4f} ms  limit x {seconds / limit:.2f}  dense x {dense / seconds:.2f}")
print(f"{len(shares)} pairs: median {statistics.median(shares):.2f}, {sum(s <= 1.6 for s in shares)} within 1.6")
