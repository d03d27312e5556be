"""Makes Tests/MLXTests/Golden/types.safetensors: a file by the reference implementation with every
element type that arrays have.

    python scripts/golden/safetensors_types.py            (torch, safetensors)
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

TYPES = {
    "bool": torch.bool, "uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32,
    "uint64": torch.uint64, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32,
    "int64": torch.int64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "float32": torch.float32, "float64": torch.float64, "complex64": torch.complex64,
}

tensors = {}
for name, dtype in TYPES.items():
    values = torch.tensor([[0, 1, 2], [3, 4, 5]])
    if name == "bool":
        values = values % 2
    elif name.startswith(("int", "float", "bfloat")):
        values = values - 2
    if name.startswith(("float", "bfloat")):
        values = values / 4
    tensors[name] = values.to(dtype)
tensors["scalar"] = torch.tensor(2.5)
tensors["empty"] = torch.zeros([0, 4])

target = Path(__file__).parents[2] / "Tests/MLXTests/Golden/types.safetensors"
save_file(tensors, target, metadata={"format": "pt", "note": 'é, "quoted"\n\U0001f9f5'})
