"""On SmolLM2-135M-Instruct: empty trainers are TRL's, and what divreg reads is what a forward says.

``DIVREG_REAL_MODEL=FOLDER pytest -m real_model``, with the folder that
``python recipes/smollm2/make_model.py FOLDER`` makes.
"""

import shutil

import pytest
import torch

from divreg import DiverseGRPOConfig, DiverseGRPOTrainer
from divreg.tasks import kinds

pytestmark = pytest.mark.real_model

SHORT = {"max_steps": 2, "learning_rate": 1e-5, "gradient_checkpointing": False}
SAVED = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
OF = {
    "GRPO": {"per_device_train_batch_size": 8, "max_completion_length": 8},
    "SFT": {"per_device_train_batch_size": 4},
    "DPO": {"per_device_train_batch_size": 2},
}


@pytest.mark.parametrize("method", OF)
def test_an_empty_trainer_is_trls_saved_and_resumed_too(real_model, scenarios, tmp_path, method):
    def train(trainer, folder, **scenario):
        given = {**SHORT, **OF[method], **scenario.pop("args", {})}
        of = {"trainer": f"{trainer}Trainer", "args": given, **scenario}
        return scenarios.run(real_model, of, tmp_path / folder)

    trls = train(method, "trl")
    try:
        ours = train(f"Diverse{method}", "ours", interventions=[], args=SAVED)
        at = str(tmp_path / "ours" / "checkpoint-1")
        again = train(f"Diverse{method}", "again", interventions=[], resume=at)
    finally:
        shutil.rmtree(tmp_path / "ours", ignore_errors=True)  # gigabytes
    for key in ("digest", "moments"):
        assert trls[key] == ours[key] == again[key]
    assert trls["logs"][:2] == scenarios.without_ours(ours["logs"])[:2]
    second, resumed = trls["logs"][1], scenarios.without_ours(again["logs"])[1]
    counted = {"num_tokens"}  # TRL begins to count anew
    assert {k: v for k, v in resumed.items() if k not in counted} == {
        k: v for k, v in second.items() if k not in counted
    }


def test_log_probs_entropies_and_those_of_prompts_are_a_plain_forwards(real_model, tmp_path):
    seen = {}

    def look(advantages, *, logprob, entropy, mask, prompt_logprob, prompt_mask):
        seen.update(logprob=logprob, entropy=entropy, mask=mask)
        seen.update(prompt=prompt_logprob, prompt_mask=prompt_mask)
        return advantages

    trainer = DiverseGRPOTrainer(
        real_model,
        reward_funcs=kinds.accuracy_reward,
        args=DiverseGRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to="none",
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=6,
            num_iterations=2,  # TRL then keeps log-probs of the sampling policy
            gradient_checkpointing=False,
        ),
        train_dataset=kinds.dataset(style="short", names=["musical instrument", "bird"]),
        interventions=[look],
    )
    batch = next(iter(trainer.get_train_dataloader()))
    rows = trainer._generate_and_score_completions(batch)
    start = rows["prompt_ids"].shape[1]
    ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
    real = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
    with torch.no_grad():
        logits = trainer.model(ids, attention_mask=real).logits[:, :-1].float()
    scores = logits.log_softmax(-1)
    chosen = scores.gather(-1, ids[:, 1:, None])[..., 0]
    entropy = -(scores.exp() * scores).sum(-1)

    def close(name, truth, mask):
        flat = (seen[name] * seen[mask]).flatten(0, 1)
        torch.testing.assert_close(flat, truth * seen[mask].flatten(0, 1), rtol=1e-4, atol=1e-4)

    close("logprob", chosen[:, start - 1 :], "mask")
    close("entropy", entropy[:, start - 1 :], "mask")
    close("prompt", chosen[:, : start - 1], "prompt_mask")
    assert seen["prompt_mask"].sum(-1).min() > 10
    old = rows["old_per_token_logps"] * rows["completion_mask"]
    close("logprob", old, "mask")
