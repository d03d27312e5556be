"""Makes Tests/ModelsTests/Golden: what transformers computes for causal language models.

    python scripts/golden/language_models.py                      (torch, transformers, safetensors)

gpt2-odd/, llama-odd/        small random checkpoints with sizes that are a multiple of nothing
gpt2-odd.safetensors, ...    tokens, logits, and what greedy generation adds to the first row
llama-rope.safetensors       the logits of llama-odd with positions scaled by each kind

The numbers are the same on every machine.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

GOLDEN = Path(__file__).parents[2] / "Tests/ModelsTests/Golden"
PRINTABLE = [chr(code) for code in range(32, 127)]


def character_tokenizer():
    """A BPE tokenizer without merges, a token a printable character of ASCII, 95 in all."""
    vocabulary = {character: index for index, character in enumerate(PRINTABLE)}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": []},
    }


def randomize(model, scale):
    """Every parameter, norms and biases too: a reader that ignores one must be noticed."""
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * scale
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + noise if is_gain else noise)
    return model.eval()


def write(name, model):
    """The checkpoint, and what it computes."""
    folder = GOLDEN / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(character_tokenizer()))
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(0, model.config.vocab_size, [3, 11], generator=generator)
    with torch.no_grad():
        logits = model(tokens).logits
        # By hand, so that nothing but the largest logit counts.
        row = tokens[:1]
        for _ in range(8):
            row = torch.cat([row, model(row).logits[:, -1:].argmax(-1)], dim=1)
    save_file(
        {"tokens": tokens.int(), "logits": logits, "greedy": row[0, 11:].int()},
        GOLDEN / f"{name}.safetensors")


torch.set_num_threads(1)
shutil.rmtree(GOLDEN / "gpt2-odd", ignore_errors=True)
write("gpt2-odd", randomize(GPT2LMHeadModel(GPT2Config(
    vocab_size=95, n_positions=23, n_embd=21, n_layer=2, n_head=3, n_inner=37, bos_token_id=0,
    eos_token_id=94)), 0.3))
shutil.rmtree(GOLDEN / "llama-odd", ignore_errors=True)
write("llama-odd", randomize(LlamaForCausalLM(LlamaConfig(
    vocab_size=95, max_position_embeddings=29, hidden_size=30, num_hidden_layers=2,
    num_attention_heads=6, num_key_value_heads=2, head_dim=6, intermediate_size=41,
    attention_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    bos_token_id=0, eos_token_id=94)), 0.3))

scaled = {
    "linear": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.5},
    # Of the three pairs of a head one keeps its rate, one is in between, one is slowed down.
    "llama3": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
}
logits = {}
for kind, parameters in scaled.items():
    configuration = LlamaConfig.from_pretrained(GOLDEN / "llama-odd")
    configuration.rope_parameters = parameters
    model = LlamaForCausalLM.from_pretrained(GOLDEN / "llama-odd", config=configuration).eval()
    tokens = load_file(GOLDEN / "llama-odd.safetensors")["tokens"]
    with torch.no_grad():
        logits[kind] = model(tokens.long()).logits
save_file(logits, GOLDEN / "llama-rope.safetensors")
