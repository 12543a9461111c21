"""YAML names functions in one place, and every mistake says what to type instead."""

import functools
import textwrap

import pytest

from divreg import spec
from divreg.compose import contract, is_scheduled
from divreg.control import Hold


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own, in the working directory."""
    (tmp_path / "mine_for_spec.py").write_text(
        textwrap.dedent(
            """
            def louder(rewards, *, factor=2.0, loud=True, mode="plain"):
                return rewards * factor

            def boxed(text):
                return text or None

            def same(a, b):
                return a == b

            NUMBER = 7
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    return "mine_for_spec"


def test_nothing_said_means_the_preset_and_no_monitor():
    for nothing in (None, {}, {"interventions": None, "signals": None, "monitor": None}):
        assert spec.load(nothing) == spec.Settings(None, {}, None)


def test_an_empty_list_is_not_the_preset():
    assert spec.load({"interventions": []}).interventions == []


def test_names_hyper_parameters_and_functions_become_interventions(mine):
    from divreg import methods

    built = spec.methods(
        ["progrpo", {"darling": {"floor": 0.2}}, {f"{mine}.louder": None}, methods.darling]
    )
    assert [contract(f).name for f in built] == ["progrpo", "darling", "louder", "darling"]
    assert contract(built[1]).hyper["floor"] == 0.2
    assert built[3] is methods.darling


def test_a_number_that_yaml_takes_for_a_word_is_a_number():
    (built,) = spec.methods([{"darling": {"floor": "1e-4"}}])
    assert contract(built).hyper["floor"] == 1e-4


def test_a_schedule_runs_from_the_first_value_to_the_second(mine):
    (built,) = spec.methods([{f"{mine}.louder": {"factor": {"linear": [1.0, 3.0, 10]}}}])
    assert is_scheduled(built)
    assert [built(1.0, step=s, boost=1.0) for s in (0, 5, 20)] == [1.0, 2.0, 3.0]


def test_a_cosine_is_slow_at_both_ends(mine):
    (built,) = spec.methods([{f"{mine}.louder": {"factor": {"cosine": [1.0, 3.0, 4]}}}])
    values = [built(1.0, step=s, boost=1.0) for s in (0, 1, 2, 4, 9)]
    assert values == pytest.approx([1.0, 2 - 2**-0.5, 2.0, 3.0, 3.0])


def test_a_hyper_parameter_can_be_held(mine):
    (built,) = spec.methods(
        [{f"{mine}.louder": {"factor": {"hold": ["distinct", 0.7, 1.5, 20, 0.05]}}}]
    )
    known = contract(built)
    assert known.signals == ("step", "distinct")
    assert known.hyper["factor"] == Hold("distinct", 0.7, start=1.5, baseline=20, pace=0.05)
    assert not is_scheduled(built)


def test_a_held_blend_is_never_more_than_the_method(mine):
    for start, most in ((), 1.0), ((0.25,), 4.0):
        hold = {"hold": ["distinct", 0.7, *start]}
        (built,) = spec.methods([{f"{mine}.louder": {"strength": hold}}])
        assert contract(built).hyper["strength"].most == most


def test_strength_blends_a_method_that_has_no_such_dial(mine):
    (half,) = spec.methods([{f"{mine}.louder": {"factor": 3.0, "strength": 0.5}}])
    assert half(1.0) == 2.0
    (rising,) = spec.methods([{f"{mine}.louder": {"strength": {"linear": [0, 1, 10]}}}])
    assert [rising(1.0, step=s, boost=1.0) for s in (0, 5, 10)] == [1.0, 1.5, 2.0]


def test_a_method_with_memory_can_be_named_bound_and_blended():
    plain, bound = spec.methods(["outcome_exploration", {"outcome_exploration": {"strength": 0.5}}])
    assert contract(plain).name == contract(bound).name == "outcome_exploration"
    assert contract(bound).hyper["strength"] == 0.5
    (rising,) = spec.methods([{"outcome_exploration": {"c": {"linear": [0, 1, 5]}}}])
    assert {"step", "boost"} <= set(contract(rising).signals)


def test_signals_become_functions(mine):
    from divreg import signals

    ready = spec.signals(
        {
            "correct": {"reward": "accuracy_reward"},
            "answer": f"{mine}.boxed",
            "partition": "by_answer",
        }
    )
    assert ready["correct"] == {"reward": "accuracy_reward", "at_least": 1.0}
    assert ready["answer"]("7") == "7"
    assert ready["partition"] is signals.by_answer


def test_a_variant_takes_hyper_parameters_and_the_users_functions(mine):
    from divreg import signals

    by_ngram = spec.signals({"partition": {"by_ngram": {"threshold": 0.4}}})["partition"]
    assert isinstance(by_ngram, functools.partial)
    assert (by_ngram.func, by_ngram.keywords) == (signals.by_ngram, {"threshold": 0.4})
    by_callable = {"by_callable": {"equivalent": f"{mine}.same"}}
    built = spec.signals({"partition": by_callable})["partition"]
    assert built.keywords["equivalent"]("a", "a")
    own = spec.signals({"partition": {"threshold": 0.3}})["partition"]
    assert (own.func, own.keywords) == (signals.partition, {"threshold": 0.3})


def test_a_file_may_be_a_recipe_or_the_block_alone(tmp_path):
    (tmp_path / "recipe.yaml").write_text("learning_rate: 1.0\ndivreg: {interventions: []}\n")
    (tmp_path / "block.yaml").write_text("interventions: [darling]\n")
    assert spec.load(tmp_path / "recipe.yaml").interventions == []
    assert len(spec.load(str(tmp_path / "block.yaml")).interventions) == 1


def test_monitor_is_off_on_or_configured():
    assert spec.load({"monitor": False}).monitor is False
    assert spec.load({"monitor": True}).monitor == {}
    assert spec.load({"monitor": {"on_collapse": "stop"}}).monitor == {"on_collapse": "stop"}


def test_formats_are_expressions_a_switch_or_a_function(mine, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("divreg:\n  monitor: {formats: {code: '```', boxed: '\\\\boxed'}}\n")
    assert spec.load(path).monitor == {"formats": {"code": "```", "boxed": r"\\boxed"}}
    assert spec.load({"monitor": {"formats": True}}).monitor == {"formats": True}
    own = spec.load({"monitor": {"formats": f"{mine}.boxed"}}).monitor
    assert callable(own["formats"])


MISTAKES = {
    "block key": ({"intervention": []}, "Did you mean 'interventions'"),
    "no list": ({"interventions": {"darling": {}}}, "a dash"),
    "method": ({"interventions": ["darlin"]}, "Did you mean 'darling'"),
    "method, nothing near": ({"interventions": ["qqq"]}, "dotted path"),
    "hyper": ({"interventions": [{"darling": {"flor": 0.1}}]}, "Did you mean 'floor'"),
    "hyper without a name": (
        {"interventions": [{"darling": 0.1}]},
        r"`- darling: \{name: value\}`",
    ),
    "value": ({"interventions": [{"darling": {"floor": "low"}}]}, "needs a number for floor"),
    "value is a switch": ({"interventions": [{"darling": {"floor": True}}]}, "needs a number"),
    "two in one": ({"interventions": [{"darling": {}, "progrpo": {}}]}, "one dash for each"),
    "no name": ({"interventions": [3]}, "divreg methods"),
    "schedule": (
        {"interventions": [{"progrpo": {"alpha": {"quadratic": [0, 1, 5]}}}]},
        r"alpha: \{linear: \[from, to, steps\]\}",
    ),
    "hold without a share": (
        {"interventions": [{"progrpo": {"alpha": {"hold": ["distinct"]}}}]},
        r"\{hold: \[mean_entropy, 0.7\]\}",
    ),
    "hold of tokens": (
        {"interventions": [{"progrpo": {"alpha": {"hold": ["entropy", 0.7]}}}]},
        "Use one of 'mean_entropy', 'mean_varentropy', 'distinct'",
    ),
    "hold at nothing": (
        {"interventions": [{"progrpo": {"alpha": {"hold": ["distinct", 0]}}}]},
        "a share above 0; got 0",
    ),
    "signal": ({"signals": {"partitoin": "by_answer"}}, "Did you mean 'partition'"),
    "signals is a list": ({"signals": ["partition"]}, "a mapping"),
    "variant": ({"signals": {"partition": "by_anser"}}, "Did you mean 'by_answer'"),
    "variant's hyper": (
        {"signals": {"partition": {"by_ngram": {"treshold": 1}}}},
        "Did you mean 'threshold'",
    ),
    "correct": ({"signals": {"correct": 1.0}}, "reward: accuracy_reward"),
    "correct's key": ({"signals": {"correct": {"rewards": "x"}}}, "Did you mean 'reward'"),
    "correct without reward": ({"signals": {"correct": {"at_least": 1}}}, "the key 'reward'"),
    "answer": ({"signals": {"answer": 3}}, "needs a function"),
    "answer's module": ({"signals": {"answer": "no_such_module.f"}}, "cannot be imported"),
    "answer's name": ({"signals": {"answer": "math.sqr"}}, "Did you mean 'sqrt'"),
    "answer has no dot": ({"signals": {"answer": "boxed"}}, "dotted path"),
    "embedding": ({"signals": {"embedding": {"encodr": "x"}}}, "Did you mean 'encoder'"),
    "monitor": ({"monitor": {"on_colapse": "stop"}}, "Did you mean 'on_collapse'"),
    "formats": ({"monitor": {"formats": ["def"]}}, "by name, or a function"),
    "formats' expression": ({"monitor": {"formats": {"code": "("}}}, "Escape what is meant"),
    "formats' value": ({"monitor": {"formats": {"code": 3}}}, "for 'code'; got 3"),
    "formats is a word": ({"monitor": {"formats": "code"}}, "dotted path"),
    "monitor is a word": ({"monitor": "yes please"}, "monitor: true"),
}


@pytest.mark.parametrize(("block", "cure"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_its_cure(block, cure):
    with pytest.raises(ValueError, match=cure) as caught:
        spec.load(block)
    assert "\n" not in str(caught.value)


def test_kinds_of_values_are_those_of_the_defaults(mine):
    for hyper, cure in (({"loud": 1}, "true or false"), ({"mode": 3}, "a word for mode")):
        with pytest.raises(ValueError, match=cure):
            spec.methods([{f"{mine}.louder": hyper}])


def test_something_that_is_no_function_is_refused(mine):
    with pytest.raises(ValueError, match="needs a function"):
        spec.signals({"answer": f"{mine}.NUMBER"})
    with pytest.raises((ValueError, TypeError), match="not an intervention"):
        spec.methods([f"{mine}.NUMBER"])


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("interventions: [darling\nsignals: {", "not valid YAML in line"),
        ("- a\n- b\n", "`key: value`"),
        ("", "got nothing"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, cure):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=cure):
        spec.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        spec.load(tmp_path / "recipe.yaml")


class Said:
    """Stands in for an encoder or a judge: keeps what it was called with."""

    def __init__(
        self, model, *, batch_size=64, truncate="left", tokens=None, embed="text", answer=None
    ):
        self.said = dict(locals())


class SaidOfAnEndpoint:
    def __init__(self, url, model, *, timeout=60.0, answer=None):
        self.said = dict(locals())


@pytest.fixture
def stand_ins(monkeypatch):
    """Encoders and judges that load nothing."""
    from divreg import semantics

    monkeypatch.setattr(semantics, "ENCODERS", {"encoder": Said, "endpoint": SaidOfAnEndpoint})
    monkeypatch.setattr(semantics, "JUDGES", {"classifier": Said, "nli": Said})


def test_an_encoder_takes_its_arguments_and_the_runs_answers(stand_ins, mine):
    block = {
        "embedding": {"encoder": "mini", "embed": "answer", "batch_size": 8},
        "answer": f"{mine}.boxed",
    }
    ready = spec.signals(block)
    said = ready["embedding"].said
    assert (said["model"], said["embed"], said["batch_size"]) == ("mini", "answer", 8)
    assert said["answer"] is ready["answer"]
    plain = spec.signals({**block, "embedding": {"encoder": "mini"}})["embedding"]
    assert plain.said["answer"] is None


def test_answers_to_be_embedded_are_found_in_the_text_alone(stand_ins):
    block = {"embedding": {"encoder": "mini", "embed": "answer"}}
    with pytest.raises(ValueError, match="got extract, which asks for the prompt too"):
        spec.signals({**block, "answer": "divreg.tasks.kinds.extract"})


def test_an_endpoint_takes_a_url_and_a_model(stand_ins):
    built = spec.signals({"embedding": {"endpoint": "http://a/v1", "model": "m", "timeout": 5}})
    said = built["embedding"].said
    assert (said["url"], said["model"], said["timeout"]) == ("http://a/v1", "m", 5)


@pytest.mark.parametrize("kind", ["classifier", "nli"])
def test_a_judge_is_built_beside_the_hyper_parameters_of_by_pairs(stand_ins, kind):
    from divreg import signals

    hyper = {kind: "deberta", "threshold": 0.102, "truncate": "right", "linkage": "complete"}
    built = spec.signals({"partition": {"by_pairs": hyper}})["partition"]
    assert built.func is signals.by_pairs
    judge = built.keywords.pop("judge")
    assert built.keywords == {"threshold": 0.102, "linkage": "complete"}
    assert (judge.said["model"], judge.said["truncate"]) == ("deberta", "right")


def test_a_judge_of_the_users_own_is_named_by_its_path(stand_ins, mine):
    hyper = {"judge": f"{mine}.same", "threshold": 0.3}
    built = spec.signals({"partition": {"by_pairs": hyper}})["partition"]
    assert built.keywords["judge"]("a", "a")
    assert built.keywords["threshold"] == 0.3


SEMANTIC_MISTAKES = {
    "two encoders": (
        {"embedding": {"encoder": "a", "endpoint": "http://a", "model": "m"}},
        "needs one of the keys 'encoder', 'endpoint'",
    ),
    "no encoder": ({"embedding": {"batch_size": 3}}, r"\{encoder: all-MiniLM-L6-v2\}"),
    "encoder's key": ({"embedding": {"encoder": "a", "tokns": 3}}, "Did you mean 'tokens'"),
    "encoder's value": ({"embedding": {"encoder": "a", "batch_size": "many"}}, "needs a number"),
    "endpoint without model": ({"embedding": {"endpoint": "http://a"}}, "the key 'model'"),
    "no extractor": ({"embedding": {"encoder": "a", "embed": "answer"}}, "`answer: my_module"),
    "no judge": ({"partition": {"by_pairs": {"threshold": 0.1}}}, r"\{classifier: NAME_OR_FOLDER"),
    "judge's key": (
        {"partition": {"by_pairs": {"nli": "a", "truncat": "left"}}},
        "Did you mean 'truncate'",
    ),
    "judge's name": ({"partition": {"by_pairs": {"clasifier": "a"}}}, "Did you mean 'classifier'"),
    "two judges": (
        {"partition": {"by_pairs": {"judge": "a.b", "nli": "a"}}},
        "needs one of the keys 'classifier', 'nli'",
    ),
}


@pytest.mark.parametrize(("block", "cure"), SEMANTIC_MISTAKES.values(), ids=SEMANTIC_MISTAKES)
def test_a_mistake_in_an_encoder_or_a_judge_names_its_cure(stand_ins, block, cure):
    with pytest.raises(ValueError, match=cure) as caught:
        spec.signals(block)
    assert "\n" not in str(caught.value)
