"""Draws the chart of the README from a run of bench.py: speed beside dense, by implementation.

usage: chart.py BENCHMARK.json OUT.svg
"""

import json
import sys

import vl_convert

NAMES = {"ours": "Tessera", "Triton pair": "Triton kernels around torch.bmm", "torch.compile": "torch.compile",
         "PyTorch": "PyTorch", "2:4 cuSPARSELt": "2:4 (cuSPARSELt)"}

SHAPES = ["8192×8192×8192", "16384×4096×4096", "4096×2048×5632"]


def main(source, target):
    with open(source) as file:
        rows = json.load(file)["rows"]
    values = []
    for row in rows:
        shape = "×".join(map(str, row["shape"]))
        if row["rank"] not in (16, 24, 32) or shape not in SHAPES:
            continue
        for key, name in NAMES.items():
            time = row["times"].get(key, {})
            if "ratio" in time:
                values.append({"shape": shape, "rank": f"rank {row['rank']}", "path": name,
                               "ratio": round(time["ratio"], 3)})
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "data": {"values": values},
        "facet": {"row": {"field": "shape", "title": "rows × inputs × outputs", "sort": SHAPES}},
        "spec": {
            "width": 620, "height": 120,
            "layer": [
                {"mark": "bar",
                 "encoding": {
                     "x": {"field": "rank", "title": None, "axis": {"labelAngle": 0}},
                     "xOffset": {"field": "path", "sort": list(NAMES.values())},
                     "y": {"field": "ratio", "type": "quantitative", "title": "speed, dense = 1"},
                     "color": {"field": "path", "title": None, "sort": list(NAMES.values()),
                               "scale": {"range": ["#e08a2e", "#3b7dd8", "#8fb3e6", "#b9c9df", "#8a8a8a"]},
                               "legend": {"orient": "bottom"}}}},
                {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"y": {"datum": 1}}}]}}
    with open(target, "w") as file:
        file.write(vl_convert.vegalite_to_svg(json.dumps(specification)))


main(*sys.argv[1:])
