"""The perplexity of a dense checkpoint by transformers, beside what `tessera evaluate` says.

    python scripts/check_perplexity.py MODEL SET --tokens 64        (torch, transformers, numpy)

MODEL is a folder that transformers reads, such as one that `tessera densify` wrote; SET was prepared
by `tessera data text`. The windows are those of `tessera evaluate MODEL --data SET --tokens 64`:
T tokens each, one after the other, of the validation part.
"""

import argparse
import json
from math import exp
from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("model")
parser.add_argument("set", type=Path)
parser.add_argument("--tokens", type=int, default=256)
arguments = parser.parse_args()

header = json.loads((arguments.set / "dataset.json").read_text())
is_wide = "uint32" in json.dumps(header)
path = arguments.set / "validation.tokens"
tokens = numpy.fromfile(path, "<u4" if is_wide else "<u2").astype(numpy.int64)
count = (len(tokens) - 1) // arguments.tokens
inputs = torch.from_numpy(tokens[: count * arguments.tokens].reshape(count, -1))
targets = torch.from_numpy(tokens[1: count * arguments.tokens + 1].reshape(count, -1))
model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
loss = 0.0
with torch.no_grad():
    for row, target in zip(inputs.split(8), targets.split(8)):
        logits = model(row).logits
        loss += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target.flatten(), reduction="sum").item()
print(f"{targets.numel()} tokens, perplexity {exp(loss / targets.numel()):.4f}")
