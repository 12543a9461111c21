"""Train a lineage whose losses of variety are known: base, SFT, DPO, GRPO, each from the last.

python recipes/expressions/lineage.py [--output-dir runs/lineage] [--seed 0] [--diverse]

SFT shows three right answers a number, the sums that begin with 1, 2 and 3, equally often: two of
three pairs of right answers differ then. DPO prefers the sum with 1 to the other two: nothing is
left that could differ. GRPO then makes right what is wrong, and finds nothing to lose among right
answers. ``divreg trace`` has to say so; the last line printed is its command. A minute or two.
"""

import argparse
import random
from pathlib import Path

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from divreg import DiverseGRPOConfig, DiverseGRPOTrainer
from divreg.tasks import expressions, tiny

COMMON = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no"}
COMMON |= {"logging_steps": 20, "disable_tqdm": True, "lr_scheduler_type": "constant"}


def sums(number: int) -> list[str]:
    """Return three right answers.

    >>> sums(24)
    ['1+23', '2+22', '3+21']
    """
    return [f"{a}+{number - a}" for a in (1, 2, 3)]


def main() -> None:
    """Train the three stages and say how to trace them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/lineage"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--diverse", action="store_true", help="GRPO with divreg's preset")
    parser.add_argument("--steps", type=int, default=200, help="of every stage (200)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(options.seed)
    numbers = expressions.targets("train")
    base = tiny.base_model(tiny.RECIPES["expressions"])
    common = {**COMMON, "seed": options.seed, "max_steps": options.steps}

    def folder(stage: str) -> str:
        return str(options.output_dir / stage)

    rows = [{"prompt": expressions.prompt(n), "completion": s} for n in numbers for s in sums(n)]
    config = SFTConfig(folder("sft"), learning_rate=1e-3, per_device_train_batch_size=64, **common)
    sft = SFTTrainer(str(base), args=config, train_dataset=Dataset.from_list(rows))
    sft.train()
    sft.save_model()

    pairs = [
        {
            "prompt": expressions.prompt(n),
            "chosen": sums(n)[0],
            "rejected": draw.choice(sums(n)[1:]),
        }
        for n in numbers
        for _ in range(40)
    ]
    draw.shuffle(pairs)
    config = DPOConfig(
        folder("dpo"), learning_rate=1e-4, beta=0.1, per_device_train_batch_size=32, **common
    )
    dpo = DPOTrainer(folder("sft"), args=config, train_dataset=Dataset.from_list(pairs))
    dpo.train()
    dpo.save_model()

    kind, its_config = (
        (DiverseGRPOTrainer, DiverseGRPOConfig) if options.diverse else (GRPOTrainer, GRPOConfig)
    )
    config = its_config(
        folder("grpo"), learning_rate=3e-4, per_device_train_batch_size=128, num_generations=16,
        max_completion_length=12, beta=0.0, gradient_checkpointing=False, **common,
    )  # fmt: skip
    grpo = kind(
        folder("dpo"), reward_funcs=expressions.accuracy_reward, args=config,
        train_dataset=expressions.dataset("train"),
    )  # fmt: skip
    grpo.train()
    grpo.save_model()
    stages = " ".join(f"{stage}={folder(stage)}" for stage in ("sft", "dpo", "grpo"))
    print(f"\ndivreg trace base={base} {stages} --split train --output-dir {folder('trace')}")


if __name__ == "__main__":
    main()
