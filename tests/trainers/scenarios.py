"""Train tiny models in many ways and say exactly what came out: in a test, or under a launcher.

``python scenarios.py SPEC.json OUT.json`` trains every scenario of the list in SPEC, one after the
other in one process group, and writes one result for each. It is started by `torchrun` and by
`accelerate launch`; tests in one process call :func:`run`.
"""

import contextlib
import functools
import hashlib
import json
import os
import sys
from pathlib import Path
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

TIMES = ("step_time", "train_runtime", "_per_second", "total_flos", "eval_runtime")
OURS = ("diversity/", "monitor/")


def parity(completions, **kwargs):
    """1 for every second text: as good as random, and the same everywhere."""
    return [float(sum(map(ord, text)) % 2) for text in completions]


def variety(completions, **kwargs):
    """Different characters per completion: graded, never 0 or 1 only."""
    return [len(set(text)) / 20 for text in completions]


def answer(text):
    """The first character, case aside; None for an empty text."""
    return text.strip()[:1].lower() or None


def letters(texts):
    """Four numbers for each text: how often four letters stand in it."""
    return torch.tensor([[1.0 + text.count(c) for c in "eat "] for text in texts])


def interventions(names):
    """Build interventions from names, or what a recipe would say; None and [] as in trainers."""
    from divreg import methods, signals, spec

    bound = {
        "steer": {"w_min": 0.5, "w_max": 1.5},
        "entropy_bonus": {"strength": 0.05},
    }
    chosen = None
    if names is not None:
        chosen = [
            functools.partial(getattr(methods, n), **bound.get(n, {}))
            if isinstance(n, str)
            else spec.methods([n])[0]
            for n in names
        ]
    return chosen, {"answer": answer, "partition": signals.by_answer, "embedding": letters}


def build(folder, scenario, output_dir):
    """Return the trainer of a scenario.

    Keys: ``trainer`` (a class name of trl or divreg), ``args``, ``interventions``, ``rewards``
    (names), ``correct`` (the signal's configuration), ``monitor`` (arguments or None), ``lora``,
    ``by_path`` (let the trainer load the model), ``record`` (keep the rollouts), ``rows`` (keep
    every process's rows of each micro-batch: the signals it names, and ``weights``).
    """
    if "SFT" in scenario["trainer"]:
        return build_sft(folder, scenario, output_dir)
    if "DPO" in scenario["trainer"]:
        return build_dpo(folder, scenario, output_dir)
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import divreg

    name = scenario["trainer"]
    home = divreg if name.startswith("Diverse") else trl
    trainer_class = getattr(home, name)
    config_class = getattr(home, name.replace("Trainer", "Config"))
    args = {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "seed": 7,
        "disable_tqdm": True,
        **scenario.get("args", {}),
    }
    more = {"callbacks": []}
    if home is divreg:
        chosen, signals = interventions(scenario.get("interventions"))
        if "correct" in scenario:
            signals["correct"] = scenario["correct"]
        more.update(interventions=chosen, signals=signals)
    if scenario.get("monitor") is not None:
        more["callbacks"].append(divreg.CollapseMonitor(**scenario["monitor"]))
    if scenario.get("record"):
        more["callbacks"].append(_rollout_keeper())
    if scenario.get("lora"):
        from peft import LoraConfig

        more["peft_config"] = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    trainer = trainer_class(
        model=str(folder)
        if scenario.get("by_path") or args.get("beta")
        else AutoModelForCausalLM.from_pretrained(folder),
        reward_funcs=[globals()[r] for r in scenario.get("rewards", ["parity"])],
        args=config_class(**args),
        train_dataset=Dataset.from_dict(
            {"prompt": [f"What is {i} plus {'1' * (i % 3 + 1)}? " for i in range(16)]}
        ),
        eval_dataset=Dataset.from_dict({"prompt": [f"What is {i} minus 1? " for i in range(4)]}),
        processing_class=AutoTokenizer.from_pretrained(folder),
        **more,
    )
    if home is trl:
        for callback in more["callbacks"]:
            callback.bind_trainer(trainer)
    return trainer


def build_sft(folder, scenario, output_dir):
    """Return a trainer of texts, of different lengths on purpose.

    Keys: as :func:`build_offline`, and ``completions`` (prompts that are not trained on).
    """
    from datasets import Dataset

    rows = [(f"What is {i}{'1' * (i % 5)}? ", "A cat. " * (1 + i % 3) + str(i)) for i in range(16)]
    data = {"prompt": [q for q, _ in rows], "completion": [a for _, a in rows]}
    if not scenario.get("completions"):
        data = {"text": [q + a for q, a in rows]}
    train, held_out = Dataset.from_dict(data), {k: v[:6] for k, v in data.items()}
    return build_offline(folder, scenario, output_dir, train, Dataset.from_dict(held_out))


def preferences():
    """Twelve preference pairs of different lengths, with weights of mean 1, one of them 0."""
    rows = range(12)
    return {
        "prompt": [f"What is {i}{'1' * (i % 5)}? " for i in rows],
        "chosen": ["A cat. " * (1 + i % 3) + str(i) for i in rows],
        "rejected": ["The dog " * (1 + i % 2) + "sat" for i in rows],
        "weight": [(i % 5) / 2 for i in rows],
    }


def build_dpo(folder, scenario, output_dir):
    """Return a trainer of preference pairs.

    Keys: as :func:`build_offline`, and ``data`` (columns in place of :func:`preferences`).
    """
    from datasets import Dataset

    data = scenario.get("data") or preferences()
    rows = Dataset.from_dict(data)
    if scenario.get("args", {}).get("precompute_ref_log_probs"):
        rows = _on_disk(rows, Path(output_dir) / "pairs")  # processes share what lies on a disk
    held_out = rows.select(range(6)).remove_columns([k for k in data if k == "weight"])
    return build_offline(folder, scenario, output_dir, rows, held_out)


def build_offline(folder, scenario, output_dir, train, held_out):
    """Return a trainer of a data set.

    Keys: ``trainer``, ``args``, ``interventions`` (what a recipe would say, or functions),
    ``signals``, ``monitor``, ``lora``, ``evaluate``.
    """
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import divreg
    from divreg import spec

    name = scenario["trainer"]
    home = divreg if name.startswith("Diverse") else trl
    args = {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "seed": 7,
        "disable_tqdm": True,
        "max_length": 64,
        "gradient_checkpointing": False,
        **scenario.get("args", {}),
    }
    more = {"callbacks": []}
    if home is divreg:
        chosen = scenario.get("interventions")
        more["interventions"] = None if chosen is None else spec.methods(chosen)
        more["signals"] = scenario.get("signals")
    if scenario.get("monitor") is not None:
        more["callbacks"].append(divreg.CollapseMonitor(**scenario["monitor"]))
    if scenario.get("lora"):
        from peft import LoraConfig

        more["peft_config"] = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    trainer = getattr(home, name)(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=getattr(home, name.replace("Trainer", "Config"))(**args),
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=AutoTokenizer.from_pretrained(folder),
        **more,
    )
    if home is trl:
        for callback in more["callbacks"]:
            callback.bind_trainer(trainer)
    return trainer


def _on_disk(rows, path):
    """Write a data set once, and let every process read it."""
    from accelerate import PartialState
    from datasets import load_from_disk

    with PartialState(cpu=True).main_process_first():
        if not path.exists():
            rows.save_to_disk(path)
    return load_from_disk(path)


def _rollout_keeper():
    """A callback that keeps what our trainers show to monitors."""
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):
        def bind_trainer(self, trainer):
            self.rollouts = trainer.kept_rollouts = []

        def on_rollout(self, batch, step, mode):
            self.rollouts.append(
                {
                    "step": step,
                    "mode": mode,
                    "texts": batch.completions,
                    "rewards": batch.totals.tolist(),
                    "advantages": batch.advantages.tolist(),
                }
            )

        def on_effects(self, effects):
            pass

    return Keeper()


def _keeping_rows(trainer, names):
    """Keep what the loss sees of this process's rows, as nested lists, while the context lasts."""
    from divreg.trainers import _mixin, _rows

    trainer.kept_rows = kept = []

    class Kept(_rows.Rows):
        def listen(self, output):
            given, first = dict(self.inputs), self._scores is None
            told = super().listen(output)
            if first:
                weighted, self.inputs = self.inputs, given  # as they were before they were weighed
                sources = self._sources(lambda x: x)
                here = {name: sources[name]().tolist() for name in names}
                self.inputs = weighted
                if self.weights is not None:
                    here["weights"] = self.weights.tolist()
                kept.append(here)
            return told

    return mock.patch.object(_mixin, "Rows", Kept)


def run(folder, scenario, output_dir):
    """Train one scenario; return a digest of the weights and everything that was logged."""
    from accelerate.utils import gather_object

    trainer = build(folder, scenario, output_dir)
    keeping = "rows" in scenario
    with _keeping_rows(trainer, scenario["rows"]) if keeping else contextlib.nullcontext():
        trainer.train(resume_from_checkpoint=scenario.get("resume"))
    if scenario.get("evaluate"):
        trainer.evaluate()
    digest, moments = hashlib.sha256(), hashlib.sha256()
    for _, parameter in sorted(trainer.model.named_parameters()):
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
        for value in getattr(trainer.optimizer, "state", {}).get(parameter, {}).values():
            moments.update(torch.as_tensor(value).float().cpu().numpy().tobytes())
    logs = [
        {k: v for k, v in row.items() if not any(t in k for t in TIMES)}
        for row in trainer.state.log_history
    ]
    pipeline = getattr(trainer, "pipeline", None)
    state = pipeline.state_dict() if pipeline is not None else None
    return {
        "digest": digest.hexdigest(),
        "moments": moments.hexdigest(),
        "logs": logs,
        "world": trainer.accelerator.num_processes,
        "deepspeed_stage": getattr(trainer.accelerator.state.deepspeed_plugin, "zero_stage", None),
        "sharded": any(getattr(p, "ds_id", None) is not None for p in trainer.model.parameters())
        and all(p.numel() == 0 for p in trainer.model.parameters()),
        "rollouts": getattr(trainer, "kept_rollouts", None),
        "rows": gather_object([getattr(trainer, "kept_rows", None)]),  # of every process
        "state": state,
        "states": gather_object([state]),  # of every process
    }


def without_ours(logs):
    """Leave out the keys that divreg adds, and TRL's rows about divreg's reward column."""
    return [{k: v for k, v in row.items() if not any(o in k for o in OURS)} for row in logs]


def main():
    """Train every scenario of a file under a launcher and write the results."""
    torch.set_num_threads(1)
    spec, out = Path(sys.argv[1]), Path(sys.argv[2])
    given = json.loads(spec.read_text())
    results = []
    for i, scenario in enumerate(given["scenarios"]):
        results.append(run(given["folder"], scenario, Path(given["output_dir"]) / str(i)))
    if int(os.environ.get("RANK", "0")) == 0:
        out.write_text(json.dumps(results, default=str))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # gloo's threads and the interpreter's teardown can wait for each other


if __name__ == "__main__":
    main()
