"""A training step of GPT-2 124M in bf16: `tessera train` beside PyTorch, compiled and eager.

    python3 scripts/gpu/train_step.py --tessera "bash .gpu/run tessera" > train_step.json
    python3 scripts/gpu/train_step.py --tessera "bash .gpu/run tessera" --wide > train_step_wide.json

With --wide: six layers of width 2048, dense, Strassen-Tile and Block Tensor-Train in all linear layers of the
stack, beside PyTorch's dense model.

Both have 16 x 1024 random tokens a step, AdamW in float32, clipping at 1, and the same sizes. PyTorch
computes in bf16 under autocast with float32 weights, its usual mode; tessera's weights are bf16 with
float32 masters. Times are medians of steps after the warm-up, with the queue kept full.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.c_attn(self.ln_1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.c_proj(functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, vocabulary, tokens, width, layers, heads):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.norm(x), self.words.weight)
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def pytorch(sizes, batch, steps, compiles, device):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model = GPT2(**sizes).to(device)
    step_model = torch.compile(model) if compiles else model
    fused = device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=fused)
    shape = (batch, sizes["tokens"])
    tokens = torch.randint(sizes["vocabulary"], shape, device=device)
    targets = torch.randint(sizes["vocabulary"], shape, device=device)

    def step():
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = step_model(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(5):
        step()
    times = []
    for _ in range(max(1, steps // 5)):
        wait()
        start = time.perf_counter()
        for _ in range(5):
            step()
        wait()
        times.append((time.perf_counter() - start) / 5)
    return statistics.median(times), min(times), max(times)


def tessera(command, sizes, batch, steps, processes, precision, structure=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        random = numpy.random.default_rng(0)
        shape = (4 * batch, sizes["tokens"])
        save_file(
            {
                name: random.integers(0, sizes["vocabulary"], shape, dtype=numpy.int32)
                for name in ("inputs", "targets")
            },
            folder / "data.safetensors",
        )
        (folder / "recipe.yaml").write_text(
            f"""
model: {{type: gpt2, vocab_size: {sizes["vocabulary"]}, n_positions: {sizes["tokens"]},
         n_embd: {sizes["width"]}, n_layer: {sizes["layers"]}, n_head: {sizes["heads"]}}}
data: data.safetensors
output: run
batch: {batch * processes}
steps: {steps + 10}
precision: {precision}
optimizer: {{rate: 3e-4, betas: [0.9, 0.95], decay: 0.01}}
rules: {{initialization: family, rates: uniform, zero_last: false}}
clip: 1
"""
            + (f"""structures:\n  - {{layers: "transformer.h.*", to: "{structure}"}}\n""" if structure else "")
        )
        jobs = []
        for rank in range(processes):
            environment = dict(os.environ)
            if processes > 1:
                # What mpirun would set, on hosts that have none.
                environment |= {
                    "OMPI_COMM_WORLD_SIZE": str(processes),
                    "OMPI_COMM_WORLD_RANK": str(rank),
                    "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
                }
            jobs.append(
                subprocess.Popen(
                    [*shlex.split(command), "train", str(folder / "recipe.yaml"), "--json"],
                    stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                    stderr=sys.stderr,
                    env=environment,
                )
            )
        output = jobs[0].communicate()[0]
        if any(job.wait() for job in jobs):
            sys.exit("tessera train failed; see above")
        # A line's rate is a mean over twenty steps; the first ten are the warm-up.
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").open()]
        speeds = [line["perSecond"] for line in lines[30:] if "perSecond" in line]
        tokens = batch * processes * sizes["tokens"]
        times = [tokens / speed for speed in speeds]
        return (statistics.median(times), min(times), max(times)), json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tessera", required=True, help="the command, with what starts it")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--processes", type=int, nargs="*", default=[1], help="numbers of GPUs")
    parser.add_argument("--wide", action="store_true", help="structures at width 2048")
    parser.add_argument("--no-pytorch", action="store_true", help="without PyTorch's rows")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script on a CPU")
    arguments = parser.parse_args()
    sizes = {"vocabulary": 50304, "tokens": 1024, "width": 768, "layers": 12, "heads": 12}
    batch, precision = 16, "bf16"
    if arguments.tiny:
        sizes = {"vocabulary": 64, "tokens": 16, "width": 32, "layers": 1, "heads": 2}
        batch = 2
    structures = [None]
    if arguments.wide:
        sizes |= {"vocabulary": 16384, "width": 2048, "layers": 6, "heads": 16}
        structures += ["stl:rank=16,rows=batch", "stl:rank=24,rows=batch", "btt:rank=1", "btt:rank=2", "monarch:blocks=16"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []

    def add(name, times, **more):
        row = {"name": name, "median_s": times[0], "min_s": times[1], "max_s": times[2], **more}
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)

    for count in arguments.processes:
        for structure in structures:
            times, result = tessera(
                arguments.tessera, sizes, batch, arguments.steps, count, precision, structure
            )
            add(
                f"tessera {structure or 'dense'}, {count} process{'es' if count > 1 else ''}",
                times,
                processes=count,
                utilization=result.get("utilization"),
                machine=result["machine"],
            )
    for name, compiles in [] if arguments.no_pytorch else [("pytorch compiled", True), ("pytorch eager", False)]:
        add(name, pytorch(sizes, batch, arguments.steps, compiles, device), torch=torch.__version__)
    print(json.dumps({"sizes": sizes, "batch": batch, "precision": precision, "rows": rows}, indent=1))


main()
