"""Draws time over limit by pattern from a record of `tessera bench factors` (scripts/gpu/record_factors; Vega-Lite, rendered by
vl-convert-python); where single plans were timed later (benchmarks/factor-plans-h200.json, its last session), the best of a pattern.

usage: chart_factors.py benchmarks/factors-swift-h200.json benchmarks/factor-plans-h200.json OUT.svg
"""

import json
import sys

import vl_convert

report = json.load(open(sys.argv[1]))
points, later = [], {}
for timing in json.load(open(sys.argv[2]))["timings"]:
    if timing.get("session") == "evening" and timing["element"] == "bfloat16":
        over = min(timing["ms"]) / timing["limit_ms"]
        later[timing["pattern"]] = min(over, later.get(timing["pattern"], over))
runs = [run for run in report["factors"] if run["rows"] == 25088 and run["dtype"] == "bfloat16"]
for run in runs:
    for row in run["patterns"]:
        if row["choice"] not in [path["name"] for path in row["paths"]]:
            continue
        a, b, c, d = (int(n) for n in row["pattern"].split("x"))
        def point(path, over):
            points.append({"pattern": row["pattern"], "block": b * c, "d": "d = 1" if d == 1 else "d > 1", "layout": f"batch {run['layout']}",
                           "path": path, "time over limit": over})
        if run["layout"] == "first" and row["pattern"] in later:
            point("warpgroups, best plan timed alone", later[row["pattern"]])
        else:
            point("taken: " + row["choice"], row["milliseconds"] / row["limit"])
        for path in row["paths"]:
            if path["name"] == "composed" and row["choice"] != "composed":
                seconds = sorted(path["timing"]["seconds"])
                point("composed: permute, multiply, permute", 1e3 * seconds[len(seconds) // 2] / row["limit"])

order = ["warpgroups, best plan timed alone", "taken: warpgroups", "taken: kernel", "taken: turned", "taken: strided", "taken: composed", "taken: matrix", "composed: permute, multiply, permute"]
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
                 "color": {"field": "path", "type": "nominal", "sort": order, "title": None,
                           "scale": {"domain": order, "range": ["#17becf", "#ff7f0e", "#d62728", "#8c564b", "#1f77b4", "#2ca02c", "#9467bd", "#c7c7c7"]}},
             }},
            {"mark": {"type": "rule", "strokeDash": [4, 3], "color": "#555"}, "encoding": {"y": {"datum": 1.8}}},
        ],
    },
    "config": {"background": "white", "font": "Helvetica, Arial, sans-serif"},
}
with open(sys.argv[3], "w") as f:
    f.write(vl_convert.vegalite_to_svg(json.dumps(specification)))
