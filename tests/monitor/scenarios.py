"""Scenarios of the monitor, run in this process or, as a script, under a launcher.

torchrun --standalone --nproc_per_node 2 tests/monitor/scenarios.py SPEC.json OUT.json
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import torch

TIMES = ("runtime", "per_second", "step_time")
OURS = ("diversity/", "monitor/")
PROBES = ["Name a number: ", "What is 2 plus 2? ", "Write a story about a cat. "]


def letters(completions, **_):
    return [float(c[:1].isalpha()) for c in completions]


def _data(kind):
    from datasets import Dataset

    questions = [f"What is {i} plus {i}? " for i in range(16)]
    if kind == "SFT":
        return Dataset.from_dict(
            {"text": [f"{q}The answer is {i}." for i, q in enumerate(questions)]}
        )
    if kind == "DPO":
        rows = {"prompt": questions, "chosen": ["The answer"] * 16, "rejected": ["A dog."] * 16}
        return Dataset.from_dict(rows)
    return Dataset.from_dict({"prompt": questions})


def build(folder, scenario, output_dir):
    """Keys: ``kind`` (GRPO, SFT, DPO), ``args``, ``monitor`` (arguments or None), ``probe``."""
    import trl
    from transformers import AutoTokenizer

    from divreg.monitor.callback import CollapseMonitor
    from divreg.rewards import probe

    kind = scenario["kind"]
    args = {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_steps": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "seed": 7,
        "disable_tqdm": True,
        "model_init_kwargs": {"dtype": "float32"},
        "per_device_train_batch_size": 4,
        **scenario.get("args", {}),
    }
    more = {}
    if kind == "GRPO":
        args |= {"num_generations": 4, "max_completion_length": 8}
        more["reward_funcs"] = [letters, probe] if scenario.get("probe") else [letters]
    trainer = getattr(trl, f"{kind}Trainer")(
        model=str(folder),
        args=getattr(trl, f"{kind}Config")(**args),
        train_dataset=_data(kind),
        processing_class=AutoTokenizer.from_pretrained(folder),
        **more,
    )
    if scenario.get("monitor") is not None:
        trainer.add_callback(CollapseMonitor(trainer, **scenario["monitor"]))
    return trainer


def run(folder, scenario, output_dir):
    """Train; return a digest of this process's weights, the logs, and what the monitor holds."""
    trainer = build(folder, scenario, output_dir)
    trainer.train()
    digest = hashlib.sha256()
    for _, parameter in sorted(trainer.model.named_parameters()):
        local = getattr(parameter, "ds_tensor", parameter)
        digest.update(local.detach().float().numpy().tobytes())
    monitors = [c for c in trainer.callback_handler.callbacks if hasattr(c, "detector")]
    logs = [
        {k: v for k, v in row.items() if not any(t in k for t in TIMES)}
        for row in trainer.state.log_history
    ]
    return {
        "digest": digest.hexdigest(),
        "logs": logs,
        "world": trainer.accelerator.num_processes,
        "sharded": all(p.numel() == 0 for p in trainer.model.parameters()),
        "detector": monitors[0].detector.state_dict() if monitors else None,
        "memory": monitors[0].memory.state_dict() if monitors else None,
        "modes": sorted({m.training for m in trainer.model.modules()}),
    }


def theirs(logs):
    """Leave out the keys that divreg adds."""
    return [{k: v for k, v in row.items() if not any(o in k for o in OURS)} for row in logs]


def main():
    torch.set_num_threads(1)
    spec, out = Path(sys.argv[1]), Path(sys.argv[2])
    given = json.loads(spec.read_text())
    results = [
        run(given["folder"], scenario, Path(given["output_dir"]) / str(i))
        for i, scenario in enumerate(given["scenarios"])
    ]
    rank = int(os.environ.get("RANK", "0"))
    out.with_suffix(f".{rank}.json").write_text(json.dumps(results, default=str))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # gloo's threads and the interpreter's teardown can wait for each other


if __name__ == "__main__":
    main()
