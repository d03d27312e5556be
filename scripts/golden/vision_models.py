"""Makes Tests/ModelsTests/Golden: what references compute for models of images.

    python scripts/golden/vision_models.py                        (torch, transformers, safetensors)

vit-odd/, t2t-odd/, mlp-odd/   small random checkpoints with sizes that are a multiple of nothing
vit-odd.safetensors, ...       images [B, height, width, channels] and the logits; of the ViT the
                               hidden states too

The reference of the ViT is transformers. T2T-ViT and the MLP are not part of it: theirs is the code
below, from the paper's formulas (Yuan et al., 2021) and PyTorch's unfold, with the tensor names of
the authors' release. The numbers are the same on every machine.
"""

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

GOLDEN = Path(__file__).parents[2] / "Tests/ModelsTests/Golden"


def random(shape, seed, scale=0.3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def fresh(name):
    shutil.rmtree(GOLDEN / name, ignore_errors=True)
    (GOLDEN / name).mkdir()
    return GOLDEN / name


def write(name, configuration, weights, images, **results):
    folder = fresh(name)
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_golden(name, images, **results)


def save_golden(name, images, **results):
    tensors = {"images": images.permute(0, 2, 3, 1)} | results
    save_file({key: value.contiguous() for key, value in tensors.items()},
              GOLDEN / f"{name}.safetensors")


def vit():
    model = ViTForImageClassification(ViTConfig(
        hidden_size=21, num_hidden_layers=2, num_attention_heads=3, intermediate_size=37,
        image_size=15, patch_size=5, num_channels=3, num_labels=7, hidden_act="gelu"))
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(sorted(model.named_parameters())):
            noise = random(parameter.shape, seed)
            is_gain = "layernorm" in name and name.endswith("weight")
            parameter.copy_(1 + noise if is_gain else noise)
    model.eval().save_pretrained(fresh("vit-odd"))
    images = random([2, 3, 15, 15], 99, 1)
    with torch.no_grad():
        save_golden(
            "vit-odd", images, logits=model(images).logits,
            hidden=model.vit(images).last_hidden_state)


class Weights(dict):
    """Random tensors by name, made when they are first asked for."""

    def tensor(self, name, *shape, gain=False, scale=0.3):
        if name not in self:
            self[name] = random(shape, len(self), scale) + (1 if gain else 0)
        return self[name]

    def linear(self, x, name, outputs, bias=True):
        # Outputs of order one: random features of long vectors are all but zero.
        inputs = x.shape[-1]
        weight = self.tensor(f"{name}.weight", outputs, inputs, scale=0.7 / math.sqrt(inputs))
        return functional.linear(
            x, weight, self.tensor(f"{name}.bias", outputs) if bias else None)

    def norm(self, x, name):
        size = x.shape[-1]
        return functional.layer_norm(
            x, [size], self.tensor(f"{name}.weight", size, gain=True),
            self.tensor(f"{name}.bias", size), 1e-5)


def performer(weights, x, name, size, features):
    """Linear attention by positive random features, the values being the shortcut."""
    k, q, v = weights.linear(weights.norm(x, f"{name}.norm1"), f"{name}.kqv", 3 * size).chunk(3, -1)
    directions = weights.tensor(f"{name}.w", features, size)
    phi = [torch.exp(part @ directions.T - part.square().sum(-1, keepdim=True) / 2)
           / math.sqrt(features) for part in (q, k)]
    scores = phi[0] @ phi[1].transpose(1, 2)
    mixed = scores @ v / (scores.sum(-1, keepdim=True) + 1e-8)
    x = v + weights.linear(mixed, f"{name}.proj", size)
    inner = functional.gelu(weights.linear(weights.norm(x, f"{name}.norm2"), f"{name}.mlp.0", size))
    return x + weights.linear(inner, f"{name}.mlp.2", size)


def t2t():
    size, features, hidden, heads, inner, classes = 9, 4, 22, 2, 31, 5
    weights = Weights()
    images = random([2, 3, 35, 35], 98, 1)

    def split(grid, side, stride, padding):
        return functional.unfold(grid, side, stride=stride, padding=padding).transpose(1, 2)

    def grid(tokens):
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)

    stage = "tokens_to_token"
    x = performer(weights, split(images, 7, 4, 2), f"{stage}.attention1", size, features)
    x = performer(weights, split(grid(x), 3, 2, 1), f"{stage}.attention2", size, features)
    x = weights.linear(split(grid(x), 3, 2, 1), f"{stage}.project", hidden)
    x = torch.cat([weights.tensor("cls_token", 1, 1, hidden).expand(len(x), -1, -1), x], dim=1)
    angles = [[place / 10000 ** (2 * (column // 2) / hidden) for column in range(hidden)]
              for place in range(x.shape[1])]
    weights["pos_embed"] = torch.tensor([[
        [math.cos(a) if column % 2 else math.sin(a) for column, a in enumerate(row)]
        for row in angles]])
    x = x + weights["pos_embed"]
    for layer in range(2):
        name = f"blocks.{layer}"
        qkv = weights.linear(
            weights.norm(x, f"{name}.norm1"), f"{name}.attn.qkv", 3 * hidden, bias=False)
        q, k, v = [part.unflatten(-1, [heads, -1]).transpose(1, 2) for part in qkv.chunk(3, -1)]
        mixed = (q @ k.transpose(2, 3) / math.sqrt(hidden // heads)).softmax(-1) @ v
        x = x + weights.linear(mixed.transpose(1, 2).flatten(2), f"{name}.attn.proj", hidden)
        wide = weights.linear(weights.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1", inner)
        x = x + weights.linear(functional.gelu(wide), f"{name}.mlp.fc2", hidden)
    logits = weights.linear(weights.norm(x, "norm")[:, 0], "head", classes)
    write("t2t-odd", {
        "model_type": "t2t_vit", "image_size": 35, "num_channels": 3, "token_size": size,
        "num_random_features": features, "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": heads, "intermediate_size": inner,
        "id2label": {str(label): f"LABEL_{label}" for label in range(classes)},
    }, weights, images, logits=logits)


def mlp():
    weights = Weights()
    images = random([3, 2, 5, 5], 97, 1)
    x = images.permute(0, 2, 3, 1).flatten(1)
    for layer, outputs in enumerate([13, 13, 6]):
        x = weights.linear(functional.gelu(x) if layer else x, f"layers.{layer}", outputs)
    write("mlp-odd", {
        "model_type": "mlp", "image_size": 5, "num_channels": 2, "hidden_size": 13,
        "num_hidden_layers": 2, "num_labels": 6, "hidden_act": "gelu",
    }, weights, images, logits=x)


torch.set_num_threads(1)
vit()
t2t()
mlp()
