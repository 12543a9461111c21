"""Where the lost answers were: among the wrong ones, which training is for, or among the right."""

from typing import Any

from divreg.report.numbers import Change, percent, shown


def decompose(changes: dict[str, Change]) -> dict[str, Any] | None:
    """Split the change in distinct answers per group into right and wrong ones.

    A class counts as right if it holds a correct completion. Returns None without correctness.
    """
    classes, right = changes.get("distinct_classes"), changes.get("distinct_correct")
    if classes is None or right is None:
        return None
    wrong_before = max(0.0, classes.baseline - right.baseline)
    wrong_now = max(0.0, classes.now - right.now)
    lost = classes.baseline - classes.now
    parts = {
        "baseline": {"right": right.baseline, "wrong": wrong_before},
        "now": {"right": right.now, "wrong": wrong_now},
        "lost": lost,
        "lost_right": right.baseline - right.now,
        "lost_wrong": wrong_before - wrong_now,
    }
    pairs = changes.get("pair_distinct_correct_frac")
    return {**parts, "says": _words(parts, classes) + _pairs(pairs)}


def _words(parts: dict[str, Any], classes: Change) -> str:
    lost, right, wrong = parts["lost"], parts["lost_right"], parts["lost_wrong"]
    if lost <= 0.05 * max(1.0, classes.baseline):
        gained = f"{shown(-right, 'classes')} more" if right < -0.05 else "about as many"
        if right > 0.1:
            gained = f"{shown(right, 'classes')} fewer"
        return f"Groups did not lose distinct answers; {gained} of them are right."
    head = f"Groups lost {shown(lost, 'classes')} distinct answers ({percent(classes.relative)}). "
    if right <= 0.05:
        more = f", and {shown(-right, 'classes')} right ones came in" if right < -0.05 else ""
        return f"{head}All of the loss is in wrong answers{more}: that is what training is for."
    if wrong <= 0.05:
        return f"{head}All of the loss is in right answers."
    share = round(100 * right / (right + wrong))
    return (
        f"{head}{shown(wrong, 'classes')} of those were wrong, which is what training is for; "
        f"{shown(right, 'classes')} ({share} %) were right answers that are no longer given."
    )


def _pairs(pairs: Change | None) -> str:
    if pairs is None:
        return ""
    return (
        f" Two right answers to one prompt differed with probability "
        f"{shown(pairs.baseline, 'share')} at the baseline and {shown(pairs.now, 'share')} now; "
        "this number does not depend on how many answers are right."
    )
