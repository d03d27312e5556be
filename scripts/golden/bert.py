"""Makes Tests/ModelsTests/Golden: what transformers computes for BERT encoders.

    python scripts/golden/bert.py [MINILM]                        (torch, transformers, safetensors)

bert-odd/             a small random checkpoint: 39 wide, 13 heads, sizes that are a multiple of nothing
bert-odd.safetensors  inputs, last hidden states and pooled outputs of that checkpoint; the hidden
                      states with other activations too
minilm.json           sentences, tokens and embeddings of all-MiniLM-L6-v2 (transformers, mean over
                      the mask, length one); MINILM is its folder
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer, BertModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from make_bert import make  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "Tests/ModelsTests/Golden"
ACTIVATIONS = ["gelu", "gelu_new", "relu", "silu"]
SENTENCES = [
    "A cat sleeps on the warm windowsill.",
    "The kitten is dozing by the window in the sun.",
    "Interest rates rose by a quarter of a percent in March.",
    "she played the cello, badly but with feeling",
    "Écoutez: naïve café résumé — déjà vu!",
    "What is the airspeed velocity of an unladen swallow?",
    "yes",
    "Matrix multiplication of two 4 by 4 matrices takes 49 products by Strassen's method, used "
    "twice, and 48 by a newer one; whether that pays depends on the machine, the sizes, the "
    "precision and the care with which the additions around it are arranged.",
]

torch.set_num_threads(1)
model = make(
    GOLDEN / "bert-odd", hidden=39, heads=13, intermediate=51, layers=2, positions=24,
    activation="gelu", scale=0.3)
generator = torch.Generator().manual_seed(7)
tokens = torch.randint(0, model.config.vocab_size, [3, 11], generator=generator)
types = torch.randint(0, 2, [3, 11], generator=generator)
mask = torch.ones([3, 11], dtype=torch.int64)
mask[1, 7:] = 0
mask[2, 1:] = 0
tensors = {"tokens": tokens.int(), "types": types.int(), "mask": mask.bool()}
with torch.no_grad():
    output = model(tokens, attention_mask=mask, token_type_ids=types)
    tensors["hidden"] = output.last_hidden_state
    tensors["pooled"] = output.pooler_output
    for activation in ACTIVATIONS:
        other = BertModel.from_pretrained(GOLDEN / "bert-odd", hidden_act=activation).eval()
        tensors[f"hidden.{activation}"] = other(tokens).last_hidden_state
save_file(tensors, GOLDEN / "bert-odd.safetensors")

if len(sys.argv) > 1:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModel.from_pretrained(sys.argv[1]).eval()
    rows = {"sentences": SENTENCES, "tokens": [], "embeddings": []}
    with torch.no_grad():
        for sentence in SENTENCES:
            batch = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=256)
            shown = batch["attention_mask"].unsqueeze(-1)
            pooled = (model(**batch).last_hidden_state * shown).sum(1) / shown.sum(1)
            vector = torch.nn.functional.normalize(pooled)[0]
            rows["tokens"].append(batch["input_ids"][0].tolist())
            rows["embeddings"].append([round(value, 7) for value in vector.tolist()])
    (GOLDEN / "minilm.json").write_text(json.dumps(rows) + "\n")
