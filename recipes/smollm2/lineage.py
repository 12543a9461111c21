"""Train a lineage of a real language model, as TRL does and with divreg, and say how to trace it.

python recipes/smollm2/lineage.py [--output-dir runs/smollm2] [--model models/smollm2]

SFT on a narrow style, DPO in a narrow taste, GRPO on kinds; each from the last, once with
``interventions: []`` and once with what its recipe names. Run it from the folder that holds
``recipes``. Stages that are there are not trained again. An hour on one CPU core.
"""

import argparse
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parent
PLAIN = {"sft": "sft_none", "dpo": "dpo_none", "grpo": "none"}
DIVERSE = {"sft": "sft_gem", "dpo": "dpo_ddpo", "grpo": "rarity"}


def main() -> None:
    """Train what is missing, and print the commands that look at it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/smollm2"))
    parser.add_argument("--model", default="models/smollm2", help="folder or hub name")
    parser.add_argument("--steps", type=int, help="of every stage (what its recipe says)")
    options = parser.parse_args()
    stages = [f"base={options.model}"]
    for way, lineage in {"plain": PLAIN, "diverse": DIVERSE}.items():
        model = options.model
        for stage, name in lineage.items():
            folder = options.output_dir / f"{stage}-{way}"
            if not (folder / "config.json").exists():
                train(stage, name, str(model), folder, options.steps)
            model = folder
            stages.append(f"{stage}-{way}={folder}")
    plain = [stages[0], *(s for s in stages if "-plain=" in s)]
    at = options.output_dir
    print(f"\ndivreg trace {' '.join(plain)} --task kinds --output-dir {at / 'trace'}")
    print(f"divreg check {' '.join(stages)} --output-dir {at / 'check'}")


def train(method: str, name: str, model: str, folder: Path, steps: int | None) -> None:
    """Train one stage with its recipe, in a process of its own.

    Raises:
        SystemExit: If it fails.
    """
    words = [method, "--config", str(RECIPES / f"{name}.yaml"), "--model_name_or_path", model]
    words += ["--output_dir", str(folder)] + ([] if steps is None else ["--max_steps", str(steps)])
    print(f"divreg {' '.join(words)}", flush=True)
    call = f"import sys; from divreg.cli import main; sys.exit(main({words!r}))"
    if code := subprocess.run([sys.executable, "-c", call], check=False).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
