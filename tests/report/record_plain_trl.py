"""Record the run in ``tests/report/plain_trl``: stock GRPOTrainer that never heard of divreg.

python tests/report/record_plain_trl.py    # 20 s on one core; no network
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", CUDA_VISIBLE_DEVICES="")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer

HERE = Path(__file__).parent
SPECIALS = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(SPECIALS + letters)}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(SPECIALS)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|im_end|>", padding_side="left"
    )
    fast.chat_template = TEMPLATE
    return fast


def model(size):
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            intermediate_size=64,
            max_position_embeddings=256,
        )
    )


def text_of(completion):
    return completion if isinstance(completion, str) else completion[-1]["content"]


def has_e(completions, **kwargs):
    return [float("e" in text_of(c)) for c in completions]


def mostly_ascii(completions, **kwargs):
    return [sum(ch < "\x7f" for ch in text_of(c)) / (len(text_of(c)) or 1) for c in completions]


def record(out, prompts, steps):
    torch.set_num_threads(1)
    tok = tokenizer()
    args = GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=16,
        num_generations=8,
        max_completion_length=12,
        max_steps=steps,
        learning_rate=5e-3,
        logging_steps=1,
        log_completions=True,
        num_completions_to_print=0,
        save_steps=steps,
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        seed=7,
    )
    GRPOTrainer(
        model=model(len(tok)),
        reward_funcs=[has_e, mostly_ascii],
        args=args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tok,
    ).train()


def keep(source, target):
    shutil.rmtree(target, ignore_errors=True)
    for path in [*source.glob("completions/*"), *source.glob("checkpoint-*/trainer_state.json")]:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


if __name__ == "__main__":
    texts = [f"Say something about {word}." for word in ("sea", "sky", "fire", "stone")]
    messages = [[{"role": "user", "content": text}] for text in texts]
    for name, prompts, steps in (("text", texts, 30), ("messages", messages, 6)):
        with tempfile.TemporaryDirectory() as folder:
            record(Path(folder), prompts, steps)
            keep(Path(folder), HERE / "plain_trl" / name)
    sys.exit(0)
