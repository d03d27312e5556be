"""Reads safetensors files with the reference implementation and prints what is in them.

    .venv/bin/python scripts/check_safetensors.py FILE...            (numpy, safetensors)

Exit code 1 if one of them cannot be read.
"""

import json
import sys

from safetensors import safe_open

for path in sys.argv[1:]:
    with safe_open(path, framework="numpy") as file:
        tensors = {}
        for name in file.keys():
            view = file.get_slice(name)
            tensors[name] = {"dtype": view.get_dtype(), "shape": view.get_shape()}
            # NumPy has no bfloat16 of its own: that one is only looked up.
            if view.get_dtype() != "BF16":
                tensors[name]["sum"] = str(file.get_tensor(name).sum())
        print(json.dumps({"metadata": file.metadata(), "tensors": tensors}))
