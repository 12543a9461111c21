"""What a recipe says of encoders and judges -> the object; `divreg.spec` and calibration use it.

``{encoder: NAME, ...}`` and ``{endpoint: URL, model: NAME, ...}`` are encoders; ``{classifier:
NAME, ...}`` and ``{nli: NAME, ...}`` are judges of pairs. The other keys are arguments of
`divreg.encoders.SentenceEncoder`, `EndpointEncoder`, `PairClassifier` and `NLIEquivalence`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from divreg import encoders, rollouts, spec

ENCODERS = {"encoder": encoders.SentenceEncoder, "endpoint": encoders.EndpointEncoder}
JUDGES = {"classifier": encoders.PairClassifier, "nli": encoders.NLIEquivalence}


def encoder(options: Mapping[str, Any], answer: Callable[[str], Any] | None = None) -> Any:
    """Build the encoder that ``embedding:`` describes.

    Args:
        options: The mapping, such as ``{"encoder": NAME, "embed": "last_tokens", "tokens": 64}``.
        answer: The run's extractor, for ``embed: answer``.

    Raises:
        ValueError: If a key or a value is not known, or ``embed: answer`` has no extractor.
    """
    kind = _chosen("embedding", options, ENCODERS, "`embedding: {encoder: all-MiniLM-L6-v2}`")
    more = {}
    if options.get("embed") == "answer":
        if answer is None:
            raise ValueError(
                "embedding needs the signal 'answer' for embed: answer; got none. "
                "Write `answer: my_module.extract` beside it."
            )
        if rollouts.asks_for_prompt(answer):
            raise ValueError(
                f"embedding needs a function of the text alone for embed: answer; got "
                f"{getattr(answer, '__name__', answer)}, which asks for the prompt too. "
                f"Use embed: text, or partition: by_answer."
            )
        more = {"answer": answer}
    return _build("embedding", ENCODERS[kind], kind, options, more)


def judged(hyper: Mapping[str, Any], own: Iterable[str]) -> dict[str, Any]:
    """Build the judge that ``by_pairs:`` describes, and keep what is by_pairs' own.

    Args:
        hyper: The mapping, such as ``{"classifier": NAME, "threshold": 0.1, "max_tokens": 128}``.
        own: The hyper-parameters of ``by_pairs``.

    Raises:
        ValueError: If a key or a value is not known, or there is not one judge.
    """
    own = set(own)
    if "judge" in hyper and not set(JUDGES) & set(hyper):
        return dict(hyper)
    kind = _chosen("by_pairs", hyper, JUDGES, "`by_pairs: {classifier: NAME_OR_FOLDER}`", also=own)
    theirs = {k: v for k, v in hyper.items() if k not in own}
    return {
        **{k: v for k, v in hyper.items() if k in own},
        "judge": _build("by_pairs", JUDGES[kind], kind, theirs, {}, own),
    }


def _chosen(
    who: str,
    options: Mapping[str, Any],
    kinds: Mapping[str, type],
    example: str,
    also: Iterable[str] = (),
) -> str:
    """Return the one key of ``options`` that names a kind."""
    named = [k for k in kinds if k in options]
    if len(named) == 1 and "judge" not in options:
        return named[0]
    known = {*also, *kinds, *(k for kind in kinds.values() for k in _arguments(kind))}
    for key in options:
        if key not in known:
            raise ValueError(spec.unknown(who, "key", key, known))
    raise ValueError(
        f"{who} needs one of the keys {', '.join(map(repr, kinds))}; got "
        f"{', '.join(map(repr, options)) or 'none'}. Write {example}."
    )


def _arguments(kind: type) -> dict[str, Any]:
    """Return the keyword arguments of a class with their defaults; the answer is the run's."""
    parameters = list(inspect.signature(kind).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.name != "answer"}


def _build(
    who: str,
    kind: type,
    name: str,
    options: Mapping[str, Any],
    more: Mapping[str, Any],
    also: Iterable[str] = (),
) -> Any:
    """Call a class with what a recipe says; ``name`` is the key that holds its first argument."""
    known = _arguments(kind)
    given = {k: v for k, v in options.items() if k != name}
    for key in given:
        if key not in known:
            raise ValueError(spec.unknown(who, "key", key, {name, *known, *also}))
    values = {k: spec.read_value(who, k, v, default=known[k]) for k, v in given.items()}
    missing = [k for k, v in known.items() if v is inspect.Parameter.empty and k not in values]
    if missing:
        raise ValueError(
            f"{who} needs the key {missing[0]!r} beside {name!r}; got {', '.join(options)}. "
            f"Write `{who}: {{{name}: {options[name]}, {missing[0]}: NAME}}`."
        )
    return kind(options[name], **values, **more)
