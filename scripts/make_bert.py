"""Makes a BERT checkpoint with random weights and sizes that are a multiple of nothing.

    python scripts/make_bert.py OUT [--tokenizer MODEL]           (torch, transformers, tokenizers)

With --tokenizer the vocabulary is that of another model; without, it is the letters, digits and
marks of ASCII, so that every English text has tokens. The numbers are the same on every machine.
"""

import argparse
import json
import shutil
import string
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def character_tokenizer():
    """A WordPiece tokenizer whose pieces are single characters, as tokenizer.json has it."""
    characters = string.ascii_lowercase + string.digits
    pieces = SPECIAL + list(string.punctuation) + list(characters) + ["##" + c for c in characters]
    special = {name: {"id": name, "ids": [SPECIAL.index(name)], "tokens": [name]}
               for name in ["[CLS]", "[SEP]"]}
    first = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    last = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return len(pieces), {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": index, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for index, name in enumerate(SPECIAL)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [first, text, last],
                           "pair": [first, text, last], "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {piece: index for index, piece in enumerate(pieces)}},
    }


def make(out, hidden, heads, intermediate, layers, positions, activation, scale, tokenizer=None):
    """Writes the checkpoint and returns the model."""
    out.mkdir(parents=True, exist_ok=True)
    if tokenizer is None:
        vocabulary, document = character_tokenizer()
        (out / "tokenizer.json").write_text(json.dumps(document))
    else:
        vocabulary = json.loads((tokenizer / "config.json").read_text())["vocab_size"]
        for name in ["tokenizer.json", "tokenizer_config.json"]:
            shutil.copyfile(tokenizer / name, out / name)
    model = BertModel(BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_attention_heads=heads,
        intermediate_size=intermediate, num_hidden_layers=layers,
        max_position_embeddings=positions, hidden_act=activation))
    # Biases and norms too: at their defaults of 0 and 1 a reader that ignores them goes unnoticed.
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(1 + noise if name.endswith("LayerNorm.weight") else noise)
    model.eval().save_pretrained(out)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--hidden", type=int, default=312)
    parser.add_argument("--heads", type=int, default=13)
    parser.add_argument("--intermediate", type=int, default=1203)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--positions", type=int, default=257)
    parser.add_argument("--activation", default="gelu")
    parser.add_argument("--scale", type=float, default=0.05)
    options = vars(parser.parse_args())
    make(**options)
