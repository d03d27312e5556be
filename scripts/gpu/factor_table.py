"""Prints, for each run of `tessera bench factors` in a record (scripts/gpu/record_factors), time over limit (median, 90 %), the same of patterns
with d > 1 (median, 90 %, most), the best rival over our time (median, least) and over the limit (median: what a product at the limit would
reach), and energy over the best rival's (median). A method that failed is in the record as "inf".

usage: factor_table.py benchmarks/factors-swift-h200.json
"""

import json
import sys


def quantile(values, share):
    """As the command's own."""
    values = sorted(values)
    return f"{values[min(len(values) - 1, int(share * len(values)))]:.2f}" if values else "-"


def energy(row):
    known = {path["name"]: path["millijoules"] for path in row["paths"] if path.get("millijoules")}
    mine = known.pop(row["choice"], None)
    return mine and mine / next(iter(known.values()), mine)


for run in json.load(open(sys.argv[1]))["factors"]:
    rows = run["patterns"]
    over = [float(row["overLimit"]) for row in rows]
    strided = [float(row["overLimit"]) for row in rows if not row["pattern"].endswith("x1")]
    ratios = [row["ratio"] for row in rows if row.get("ratio")]
    rivals = [row["ratio"] * float(row["overLimit"]) for row in rows if row.get("ratio")]
    print(f"{run['dtype']:8s} {'TF32' if run['allowsTF32'] else '':4s} batch {run['layout']:5s} {run['rows']:5d} rows, {len(rows):3d} patterns: "
          f"limit x {quantile(over, 0.5)}, {quantile(over, 0.9)}  d > 1 ({len(strided)}) {quantile(strided, 0.5)}, {quantile(strided, 0.9)}, {quantile(strided, 1)}  rival x {quantile(ratios, 0.5)}, "
          f"{quantile(ratios, 0)}, at limit {quantile(rivals, 0.5)}  energy {quantile([e for e in map(energy, rows) if e], 0.5)}")
