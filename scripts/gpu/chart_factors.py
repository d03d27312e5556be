"""Draws time over limit by pattern from a result of bench_factors.py (Vega-Lite, rendered by vl-convert-python).

usage: chart_factors.py benchmarks/factors-h200.json OUT.svg
"""

import json
import sys

import vl_convert

report = json.load(open(sys.argv[1]))
points = []
for row in report["factors"]:
    times = row.get("ms", {})
    if row["rows"] != 25088 or row["element"] != "bfloat16" or row.get("choice") not in times:
        continue
    a, b, c, d = row["pattern"]
    def point(layout, path, ms):
        points.append({"pattern": f"({a}, {b}, {c}, {d})", "block": b * c, "d": "d = 1" if d == 1 else "d > 1", "layout": layout,
                       "path": path, "time over limit": ms / row["limit_ms"]})
    point("batch first", "chosen: " + row["choice"], times[row["choice"]])
    point("batch first", "permute, bmm, permute", times["bmm"])
    if "last: zero-copy bmm" in times:
        point("batch last", "chosen: zero-copy bmm", times["last: zero-copy bmm"])
        point("batch last", "permute, bmm, permute", times["last: bmm"])

order = ["chosen: kernel", "chosen: zero-copy bmm", "chosen: einsum", "chosen: dense", "permute, bmm, permute"]
gpu = report["machine"]["gpu"]
specification = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "title": f"One Kronecker-sparse factor, 25088 rows, bfloat16, {gpu}: time over the limit of memory or arithmetic",
    "data": {"values": points},
    "facet": {"column": {"field": "layout", "title": None}, "row": {"field": "d", "title": None}},
    "spec": {
        "width": 380, "height": 190,
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 38, "opacity": 0.75},
             "encoding": {
                 "x": {"field": "block", "type": "quantitative", "scale": {"type": "log", "domain": [2000, 2000000], "nice": False}, "title": "b · c"},
                 "y": {"field": "time over limit", "type": "quantitative", "scale": {"type": "log", "domain": [1, 50], "nice": False, "clamp": True}},
                 "color": {"field": "path", "type": "nominal", "sort": order, "title": None,
                           "scale": {"domain": order, "range": ["#d62728", "#1f77b4", "#9467bd", "#2ca02c", "#c7c7c7"]}},
             }},
            {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#555"}, "encoding": {"y": {"datum": 1.8}}},
        ],
    },
    "config": {"background": "white", "font": "Helvetica, Arial, sans-serif"},
}
with open(sys.argv[2], "w") as f:
    f.write(vl_convert.vegalite_to_svg(json.dumps(specification)))
