"""Makes Tests/MLXNNTests/Golden/*.json: what PyTorch says that layers, losses, optimisers,
schedules and clipping give.

Run from the root of a checkout with a Python that has torch:

    python scripts/golden/nn.py
"""

import json
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

GOLDEN = pathlib.Path(__file__).parents[2] / "Tests" / "MLXNNTests" / "Golden"


def array(tensor):
    """A tensor as JSON; nine digits tell any two float32 apart."""
    values = tensor.detach().double().flatten().tolist()
    return {"shape": list(tensor.shape), "values": [float(f"{value:.9g}") for value in values]}


def write(name, content):
    path = GOLDEN / f"{name}.json"
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def case(output, inputs, parameters=(), **more):
    """Inputs, output and the gradients of Σ output · cotangent, for a fixed cotangent."""
    leaves = [*dict(inputs).items(), *dict(parameters).items()]
    trained = [(name, leaf) for name, leaf in leaves if leaf.requires_grad]
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad((output * cotangent).sum(), [leaf for _, leaf in trained])
    arrays = {name: leaf for name, leaf in leaves} | {"output": output, "cotangent": cotangent}
    arrays |= {f"grad.{name}": gradient for (name, _), gradient in zip(trained, gradients)}
    return {name: array(tensor) for name, tensor in (arrays | more).items()}


def layers():
    torch.manual_seed(0)
    result = {}

    x = torch.randn(3, 5, requires_grad=True)
    linear = nn.Linear(5, 4)
    result["linear"] = case(linear(x), {"x": x}, linear.named_parameters())

    norm = nn.LayerNorm(6, eps=1e-12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 6, requires_grad=True)
    result["layerNorm"] = case(norm(x), {"x": x}, norm.named_parameters())

    rms = nn.RMSNorm(6, eps=1e-5)
    nn.init.normal_(rms.weight)
    x = torch.randn(2, 3, 6, requires_grad=True)
    result["rmsNorm"] = case(rms(x), {"x": x}, rms.named_parameters())

    embedding = nn.Embedding(7, 3)
    x = torch.tensor([[1, 6, 1], [0, 1, 5]])
    result["embedding"] = case(embedding(x), {"x": x}, embedding.named_parameters())

    x = torch.linspace(-4, 4, 17, requires_grad=True)
    result["gelu"] = case(F.gelu(x), {"x": x})
    result["geluApproximate"] = case(F.gelu(x, approximate="tanh"), {"x": x})
    result["silu"] = case(F.silu(x), {"x": x})
    result["relu"] = case(F.relu(x), {"x": x})
    result["tanh"] = case(torch.tanh(x), {"x": x})

    torch_attention = nn.MultiheadAttention(6, 2, batch_first=True)
    nn.init.normal_(torch_attention.in_proj_bias)
    q, k = (torch.randn(2, t, 6, requires_grad=True) for t in (3, 4))
    mask = torch.tensor([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    output, _ = torch_attention(q, k, k, attn_mask=mask, need_weights=False)
    content = case(
        output, {"queries": q, "keys": k}, torch_attention.named_parameters(), mask=~mask)
    # PyTorch keeps the three projections in one matrix; each is a matrix of its own here.
    for prefix in ("", "grad."):
        for kind in ("weight", "bias"):
            whole = content.pop(f"{prefix}in_proj_{kind}")
            size = len(whole["values"]) // 3
            for part, name in enumerate(("query", "key", "value")):
                content[f"{prefix}{name}_proj.{kind}"] = {
                    "shape": [6] + whole["shape"][1:],
                    "values": whole["values"][part * size : (part + 1) * size],
                }
    result["attention"] = content
    return result


def losses():
    torch.manual_seed(1)
    result = {}
    logits = torch.randn(4, 5, requires_grad=True)
    classes = torch.tensor([0, 4, 2, 2])
    result["classes"] = case(
        F.cross_entropy(logits, classes, reduction="none"), {"logits": logits, "targets": classes})
    result["smoothed"] = case(
        F.cross_entropy(logits, classes, label_smoothing=0.2),
        {"logits": logits, "targets": classes})
    probabilities = torch.softmax(torch.randn(4, 5), -1)
    result["probabilities"] = case(
        F.cross_entropy(logits, probabilities, label_smoothing=0.1),
        {"logits": logits, "targets": probabilities})
    a, b = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    result["mse"] = case(F.mse_loss(a, b), {"a": a, "b": b})
    result["cosine"] = case(F.cosine_similarity(a, b, dim=1), {"a": a, "b": b})
    logp, logq = (torch.log_softmax(t, -1).detach().requires_grad_() for t in (a, b))
    result["kl"] = case(
        F.kl_div(logp, logq, reduction="none", log_target=True).sum(-1), {"a": logp, "b": logq})
    return result


def trajectory(make):
    """Ten updates of a matrix and a vector along fixed gradients."""
    generator = torch.Generator().manual_seed(2)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (4,))]
    weight, bias = (nn.Parameter(value.clone()) for value in start)
    gradients = [[torch.randn(p.shape, generator=generator) for p in start] for _ in range(10)]
    optimizer = make(weight, bias)
    steps = {"weight": [], "bias": []}
    for gradient in gradients:
        weight.grad, bias.grad = (g.clone() for g in gradient)
        optimizer.step()
        steps["weight"].append(weight.detach().clone())
        steps["bias"].append(bias.detach().clone())
    return {
        "weight": array(start[0]),
        "bias": array(start[1]),
        "grad.weight": array(torch.stack([g[0] for g in gradients])),
        "grad.bias": array(torch.stack([g[1] for g in gradients])),
        "steps.weight": array(torch.stack(steps["weight"])),
        "steps.bias": array(torch.stack(steps["bias"])),
    }


def optimizers():
    both = lambda w, b: [w, b]
    sgd = torch.optim.SGD
    adamw = torch.optim.AdamW
    return {
        "sgd": trajectory(lambda w, b: sgd(both(w, b), lr=0.1, weight_decay=0.01)),
        "momentum": trajectory(lambda w, b: sgd(both(w, b), lr=0.1, momentum=0.9)),
        "nesterov": trajectory(
            lambda w, b: sgd(both(w, b), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
        "adamw": trajectory(lambda w, b: adamw(both(w, b), lr=0.01, weight_decay=0.1)),
        "adamwGroups": trajectory(
            lambda w, b: adamw(
                [{"params": [w], "lr": 0.03}, {"params": [b], "weight_decay": 0.0}],
                lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    }


def schedules():
    lr = torch.optim.lr_scheduler

    def rates(make, count=14):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        scheduler = make(optimizer)
        result = []
        for _ in range(count):
            result.append(float(f"{optimizer.param_groups[0]['lr']:.9g}"))
            optimizer.step()
            scheduler.step()
        return result

    # CosineAnnealingLR goes up again after T_max: only the way down is compared.
    return {
        "constant": rates(lambda o: lr.LambdaLR(o, lambda _: 1.0)),
        "linear": rates(lambda o: lr.LinearLR(o, 0.2, 0.5, total_iters=6)),
        "cosine": rates(lambda o: lr.CosineAnnealingLR(o, T_max=12, eta_min=0.01), count=13),
        "exponential": rates(lambda o: lr.ExponentialLR(o, 0.9)),
        "step": rates(lambda o: lr.StepLR(o, step_size=4, gamma=0.5)),
        "joined": rates(
            lambda o: lr.SequentialLR(
                o, [lr.ConstantLR(o, 0.25, total_iters=100), lr.ExponentialLR(o, 0.8)], [5])),
    }


def clipping():
    torch.manual_seed(3)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 2), (4,))]
    result = {}
    for name, bound in (("above", 1.0), ("below", 100.0)):
        gradients = [torch.randn(p.shape) for p in parameters]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, bound)
        result[name] = {
            "first": array(gradients[0]), "second": array(gradients[1]), "norm": array(norm),
            "clipped.first": array(parameters[0].grad),
            "clipped.second": array(parameters[1].grad),
        }
    return result


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    write("layers", layers())
    write("losses", losses())
    write("optimizers", optimizers())
    write("schedules", schedules())
    write("clipping", clipping())
