"""The results as Markdown."""

from typing import Any

from steps import MODES

Found = dict[str, Any]


def table(found: Found) -> str:
    """Return the tables of one case: of providers, of policy losses, and what more costs."""
    title = f"\n**{found['case']}**"
    if "skipped" in found:
        return f"{title}: skipped, {found['skipped']}"
    gradients = f"the gradients alone take {number(found['gradients_mib'])} MiB"
    lines = [f"{title}, {found['rounds']} rounds, ms; {gradients}", ""]
    lines += _rows(found["providers"], ("no gradient", "forward", "log-prob", "both", "cold"))
    if found["loss"]:
        lines += ["", "Policy loss with an entropy bonus, forward and backward, ms", ""]
        lines += _rows(found["loss"], ("loss",))
    if found["noise"]:
        lines += ["", f"All moments cost {_list(found['extra'])}; noise: {_list(found['noise'])}."]
    return "\n".join(lines)


def ceilings(found: Found) -> str:
    """Return the ceilings in words."""
    copy, read = found["copy"] / 1e9, found["read"] / 1e9
    lines = [f"\nCeilings: copy {number(copy)} GB/s, read {number(read)} GB/s."]
    for shape, products in found["products"].items():
        same, wide = (x and f"{number(x / 1e12)} TFLOP/s" for x in products.values())
        lines.append(f"Product {shape}: {same}; into fp32: {wide or 'not there'}.")
    lines.append(
        "A forward counts as one read of the logits, or 2 N H V operations; forward and backward as"
        " two reads and a write, or 8 N H V operations, whoever needs fewer."
    )
    return "\n".join(lines)


def number(x: float) -> str:
    """Return three digits.

    >>> number(0.01234), number(1.5), number(890.5), number(1539.7)
    ('0.0123', '1.5', '890', '1540')
    """
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def percent(x: float) -> str:
    """Return two digits or more.

    >>> percent(1.41), percent(0.77), percent(0.0042)
    ('141%', '77%', '0.42%')
    """
    return f"{x:.0%}" if x >= 0.095 else f"{100 * x:.2g}%"


def _rows(providers: dict[str, Found], modes: tuple[str, ...]) -> list[str]:
    ran = {mode for line in providers.values() for mode in line.get("modes", {})}
    shown = [mode for mode in modes if mode in ran]
    reached = "of the ceiling" + (": forward, whole" if "no gradient" in shown else "")
    head = [*(MODES[mode] for mode in shown), "of TRL", reached, "peak, MiB", "exact"]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, line in providers.items():
        cells = _cells(line, shown) if "ms" in line else [_why(line)]
        cells += [""] * (len(head) - len(cells))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cells(line: Found, shown: list[str]) -> list[str]:
    cells = []
    for mode in shown:
        if mode in line["modes"]:
            cells.append(_spread(line["modes"][mode], mode in ("both", "loss")))
        else:
            cells.append("log-prob only")
    if line.get("log_prob_only") and "loss" in shown:
        cells[-1] += ", log-prob only"
    of_trl, peak = line.get("of_trl"), line.get("peak_mib")
    whole = [line["modes"][mode]["of_ceiling"] for mode in ("no gradient",) if mode in shown]
    reached = [percent(x) for x in (*whole, line["of_ceiling"]) if x is not None]
    cells.append("" if of_trl is None else f"{of_trl:.2f}")
    cells += [", ".join(reached), "" if peak is None else f"{peak:.0f}"]
    return [*cells, "; ".join(line["wrong"]) or "yes"]


def _spread(times: Found, wide: bool) -> str:
    middle = number(times["ms"])
    return f"{middle} ({number(times['p10'])} to {number(times['p90'])})" if wide else middle


def _why(line: Found) -> str:
    why = line["missing"] or f"not timed: {'; '.join(line['wrong'])}"
    return why.replace("|", "/")


def _list(shares: dict[str, float]) -> str:
    return ", ".join(f"{x:+.1%} ({MODES[mode]})" for mode, x in shares.items())
