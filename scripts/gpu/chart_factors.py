"""Draws time over limit by pattern from a record of `tessera bench factors` (scripts/gpu/record_factors; Vega-Lite, rendered by
vl-convert-python).

usage: chart_factors.py benchmarks/factors-swift-h200.json OUT.svg
"""

import json
import sys

import vl_convert

report = json.load(open(sys.argv[1]))
points = []
runs = [run for run in report["factors"] if run["rows"] == 25088 and run["dtype"] == "bfloat16"]
for run in runs:
    for row in run["patterns"]:
        if row["choice"] not in [path["name"] for path in row["paths"]]:
            continue
        a, b, c, d = (int(n) for n in row["pattern"].split("x"))
        def point(path, over):
            points.append({"pattern": row["pattern"], "block": b * c, "d": "d = 1" if d == 1 else "d > 1", "layout": f"batch {run['layout']}",
                           "path": path, "time over limit": over})
        point("taken: " + row["choice"], row["milliseconds"] / row["limit"])
        for path in row["paths"]:
            if path["name"] == "composed" and row["choice"] != "composed":
                seconds = sorted(path["timing"]["seconds"])
                point("composed: permute, multiply, permute", 1e3 * seconds[len(seconds) // 2] / row["limit"])

colors = {"taken: warpgroups": "#ff7f0e", "taken: kernel": "#d62728", "taken: turned": "#8c564b", "taken: strided": "#1f77b4", "taken: composed": "#2ca02c",
          "taken: matrix": "#9467bd", "composed: permute, multiply, permute": "#c7c7c7"}
order = {path: color for path, color in colors.items() if path in {point["path"] for point in points}}
gpu = runs[0]["machine"]["gpu"]
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
                 "color": {"field": "path", "type": "nominal", "sort": list(order), "title": None, "legend": {"labelLimit": 0},
                           "scale": {"domain": list(order), "range": list(order.values())}},
             }},
            {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#555"}, "encoding": {"y": {"datum": 1.8}}},
        ],
    },
    "config": {"background": "white", "font": "Helvetica, Arial, sans-serif"},
}
with open(sys.argv[2], "w") as f:
    f.write(vl_convert.vegalite_to_svg(json.dumps(specification)))
