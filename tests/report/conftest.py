import math
import random

import numpy as np
import pytest

from divreg.monitor.observe import Batch, observe
from divreg.records import Recorder

OPENINGS = ["First,", "Let us see:", "We know that", "Start with", "Note that", "To begin,"]
MIDDLES = ["add the", "take away the", "count the", "double the", "compare the", "split the"]
THINGS = ["apples", "coins", "pages", "miles", "boxes", "hours", "seats", "pens"]


def expressions(target, rng, n):
    """Different ways to write ``target``, and as many that miss it."""
    right, wrong = [], []
    while len(right) < n:
        a, b = rng.randint(1, 30), rng.randint(1, 9)
        text = rng.choice([f"{a}+{target - a}", f"{target + a}-{a}", f"{target * b}/{b}"])
        right.append(text if rng.random() < 0.6 else f"{a}+{target - a - b}+{b}")
        wrong.append(f"{a}+{rng.randint(1, 40)}")
    return right, wrong


def solutions(target, rng, n):
    """Worded solutions of some sixty words."""

    def one(answer):
        parts = [
            f"{rng.choice(OPENINGS)} {rng.choice(MIDDLES)} {rng.choice(THINGS)}, "
            f"which gives {rng.randint(2, 90)} {rng.choice(THINGS)}."
            for _ in range(rng.randint(3, 6))
        ]
        return "\n".join([*parts, f"#### {answer}"])

    right = [one(target) for _ in range(n)]
    return right, [one(target + rng.randint(1, 9)) for _ in range(n)]


def progress(kind, t):
    """Sharpness of the policy, its accuracy and its length factor at time ``t`` in [0, 1]."""
    ramp = 1 / (1 + math.exp(-12 * (t - 0.45)))
    return {
        "healthy": (0.9 + 0.1 * t, 0.35 + 0.4 * ramp, 1),
        "collapse": (0.9 + 6 * ramp, 0.35 + 0.4 * ramp, 1),
        "saturated": (0.9 + 0.3 * t, 0.35 + 0.65 * ramp, 1),
        "exploding": (0.9 * (1 - ramp), 0.35 * (1 - ramp) + 0.02, 1 + 4 * ramp),
    }[kind]


def make_run(
    path,
    kind="collapse",
    steps=60,
    prompts=8,
    size=16,
    seed=0,
    pool=4,
    style=expressions,
    observed=None,
    record_every=1,
    correct=True,
    entropy=True,
    resume=None,
    effects=False,
    detect=True,
    **run,
):
    """Record a run whose policy sharpens, holds, saturates or flattens; returns its directory.

    ``pool`` times ``prompts`` prompts exist; ``observed`` steps are made and then repeated, which
    is how a long history is made in little time.
    """
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    tasks = []
    for _ in range(prompts * pool):
        target = rng.randint(20, 90)
        texts = style(target, rng, 40)
        tasks.append((f"Write an expression that equals {target}:", texts, draw.normal(size=40)))
    config = {"num_generations": size, "temperature": 1.0, "learning_rate": 3e-4, "seed": seed}
    config |= {"max_steps": steps, "scale_rewards": "group", "beta": 0.0}
    meta = {
        "trainer": "GRPOTrainer",
        "versions": {"divreg": "0.1.0", "trl": "1.16.0", "torch": "2.13.0", "python": "3.11.7"},
        "world_size": 1,
        "config": config,
        "interventions": [],
        "equivalence": "text",
        "correct": "correct_answer>=1" if correct else None,
        "encoder": None,
        "monitor": {},
        **run,
    }
    detector, cache = (_detector() if detect else None), {}
    with Recorder(path, meta, resume_step=resume) as recorder:
        for step in range((resume or 0) + 1, steps + 1):
            shown = step if observed is None else 1 + (step - 1) * observed // steps
            if shown not in cache:
                cache.clear()
                t = shown / (observed or steps)
                chosen = [tasks[rng.randrange(len(tasks))] for _ in range(prompts)]
                cache[shown] = _rollout(chosen, progress(kind, t), size, draw, correct)
            seen, nats, length = cache[shown]
            signals = {**seen.signals, "mean_length_tokens": length, "truncated_frac": 0.02}
            extra = {"effects": {"darling_mean_change": 0.1 + 0.001 * step}} if effects else {}
            if step % record_every == 0:
                recorder.completions(step, "train", seen.columns)
            recorder.event(
                "step", step=step, mode="train", signals=signals, groups=seen.groups, **extra
            )
            logs = {"loss": 0.01, "reward": seen.signals["reward_mean"], "kl": 0.0}
            if entropy:
                logs["entropy"] = nats
            recorder.event("log", step=step, mode="train", logs=logs)
            if step % max(1, steps // 4) == 0:
                where = f"{path}/checkpoint-{step}"
                recorder.event("checkpoint", step=step, path=where, healthy=step < steps / 2)
            if detector:
                noted = signals | ({"entropy": nats} if entropy else {})
                for alert in detector.update(step, noted):
                    recorder.event("alert", **{**vars(alert), "step": step})
        recorder.event("end", step=steps, reason="finished")
    return path


def _detector():
    from divreg.monitor.detect import Detector

    return Detector()


def _rollout(chosen, state, size, draw, known):
    sharp, accuracy, stretch = state
    prompts, texts, right, nats = [], [], [], []
    for prompt, (good, bad), logits in chosen:
        p = np.exp(sharp * logits)
        p /= p.sum()
        nats.append(-(p * np.log(p)).sum() / 3)
        for _ in range(size):
            ok = draw.random() < accuracy
            text = (good if ok else bad)[draw.choice(40, p=p)]
            if stretch > 2:
                text += " " + " ".join(map(str, draw.integers(0, 99, int(8 * stretch))))
            prompts.append(prompt)
            texts.append(text)
            right.append(bool(ok))
    rewards = np.array(right, dtype=float)
    groups = rewards.reshape(-1, size)
    scaled = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, keepdims=True) + 1e-4)
    batch = Batch(
        prompts=prompts,
        completions=texts,
        group_size=size,
        rewards=rewards[:, None],
        reward_names=["correct_answer"],
        totals=rewards,
        advantages=scaled.ravel(),
        correct=right if known else None,
    )
    length = float(np.mean([len(t) for t in texts]))
    return observe(batch), float(np.mean(nats)) * stretch, length


@pytest.fixture(scope="session", name="make_run")
def make_run_fixture():
    return make_run
