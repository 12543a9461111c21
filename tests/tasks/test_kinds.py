"""The kinds task: its table, how an answer is read, its prompts, and its grader on real answers."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from divreg.tasks import kinds, wordnet
from divreg.tasks.task import TASKS

NAMES = kinds.categories()
# Every word of every category, with the category: what a right answer can be.
WORDS = sorted(
    (name, word) for name in NAMES for words in kinds.synsets(name).values() for word in words
)
FRAMES = (
    "{}", " {}\n", "{}.", "{}!", "\n\n{}", "**{}**", '"{}"', "“{}”", "({})", "_{}_", "- {}",
    "1. {}", "a {}", "An {}.", "the {}", "Sure, {}!", "Okay: {}", "{}, hammer and tango",
    "{} or hammer", "{}; hammer", "{}\nQ: Name one kind of tango.\nA: hammer",
    "One kind is the {}.", "One kind of it would be a {}, which I like.",
    "It is called {} because of its name.", "My favorite one of all of them is {}",
    "{} is one of them.", "A kind of it: {}",
)  # fmt: skip


def same(text):
    return text


def spaced(text):
    return text.replace("-", " ")


def hyphened(text):
    return text.replace(" ", "-")


def accented(text):
    return unicodedata.normalize("NFC", re.sub("e(?=.)", "é", text))


CASES = (same, str.upper, str.lower, str.title, str.capitalize, spaced, hyphened, accented)


def letters(text):
    """A text without all that may differ in how a name is written."""
    parts = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in parts if c.isalnum())


def is_weak(word):
    """Whether a word is a name only where it stands alone."""
    return len(letters(word)) <= 2 or word.lower() in wordnet.FUNCTION_WORDS


def means(category, found):
    return {letters(word) for word in kinds.synsets(category)[found]}


def is_own(category, word):
    own = wordnet.category(category).own
    return wordnet.key_of(word) in own


def test_every_word_of_the_table_is_an_answer_of_its_synset():
    for category, word in WORDS:
        found = kinds.answer(word, category)
        if is_own(category, word):
            assert found is None
        else:
            assert found is not None, (category, word)
            assert letters(word) in means(category, found), (category, word, found)


@given(st.sampled_from(WORDS), st.sampled_from(FRAMES), st.sampled_from(CASES))
def test_a_word_is_found_in_every_frame_and_spelling(pair, frame, spell):
    category, word = pair
    if is_own(category, word) or (is_weak(word) and letters(frame.partition("\n")[0]) != "a"):
        return
    assert kinds.answer(frame.format(spell(word)), category) == kinds.answer(word, category)


@given(st.sampled_from(WORDS), st.sampled_from(["{}", "The {}.", "{}, hammer", "two {} of them"]))
def test_a_plural_is_an_answer_of_the_same_synset(pair, frame):
    category, word = pair
    if is_own(category, word) or is_weak(word) or re.search(r"\b\w$", word):
        return  # letters have no plural here: "Dr. J", "vitamin A"
    for plural in plurals(word):
        found = kinds.answer(frame.format(plural), category)
        if letters(plural) in {letters(w) for w in kinds.synsets(category).get(found, ())}:
            continue  # "glasses" is a word of its own
        assert found == kinds.answer(word, category), plural


def plurals(word):
    """The regular plural of a word, and its irregular one where that is known."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        yield word + "es"
    elif re.search("[^aeiou]y$", word):
        yield word[:-1] + "ies"
    else:
        yield word + "s"
    yield from (p for p, nouns in wordnet._table()[1].items() if word.lower() in nouns)


@given(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(WORDS).map(lambda pair: pair[1]) | st.text(max_size=8), max_size=5),
    st.sampled_from([" ", ", ", " and ", "-", "", "\n"]),
)
@example("nut", ["a", "corn"], " ")
@example("bird", ["robin's", "egg"], " ")
@example("bird", ["\0", "İ", "ß", "ﬁ"], " ")
def test_a_class_is_given_only_for_a_word_of_its_own(category, parts, join):
    text = join.join(parts)
    found = kinds.answer(text, category)
    if found is not None:
        written = letters(text.lstrip().partition("\n")[0])
        stems = {stem for word in means(category, found) for stem in (word, word[:-1])}
        irregular = {letters(p) for w in kinds.synsets(category)[found] for p in plurals(w)}
        assert any(stem in written for stem in stems | irregular), (text, found)


@pytest.mark.parametrize(
    ("category", "text", "found"),
    [
        ("bird", "robin, sparrow and crow", "robin.n.01"),
        ("bird", "hammer, robin", None),
        ("bird", "There I sat one day and saw a robin", None),
        ("bird", "My favorite one of all these = Robin", "robin.n.01"),
        ("bird", "The Old World robin is a bird", "robin.n.01"),
        ("bird", "a red robin", "robin.n.01"),
        ("bird", "robin's egg", None),
        ("bird", "robins' nest", None),
        ("bird", "bald eagles!", "bald_eagle.n.01"),
        ("bird", "birds of prey", "bird_of_prey.n.01"),
        ("bird", "bird", None),
        ("bird", "Birds.", None),
        ("bird", "tool: hammer\nrobin", None),
        ("bird", "", None),
        ("building", "a barn", "barn.n.01"),
        ("sport", "sea coast", None),
        ("herb", "bay leaves", None),
        ("fruit", "apple pie", None),
        ("fish", "salmon fish", "salmon.n.01"),
        ("chemical element", "He", "helium.n.01"),
        ("chemical element", "He is right.", None),
        ("country", "the US", "united_states.n.01"),
        ("unit of time", "One unit of time is the second.", "second.n.01"),
        ("dog", "St. Bernard.", "saint_bernard.n.01"),
        ("metal", "word " * 40 + "gold", None),
        ("metal", "x" * 100_000, None),
    ],
)
def test_an_answer_is_read_as_the_module_says(category, text, found):
    assert kinds.answer(text, category) == found
    assert kinds.is_correct(text, category) is (found is not None)


def test_synonyms_are_one_answer_and_a_word_of_several_meanings_has_its_most_frequent():
    assert kinds.answer("aubergine", "vegetable") == kinds.answer("eggplant", "vegetable")
    robins = [s for s, words in kinds.synsets("bird").items() if "robin" in words]
    assert robins == ["robin.n.02", "robin.n.01"]
    assert kinds.answer("robin", "bird") == "robin.n.01"
    assert kinds.answer("American robin", "bird") == "robin.n.02"


NAMED = {
    "train": """
        bird fish tree fruit vehicle garment color disease beverage building emotion language herb
        game fabric jewelry scientist crime gem bread boat hat candy berry
    """,
    "held_out": """
        vegetable insect weapon religion mammal furniture reptile container planet drug metal sport
        currency city
    """,
}


def test_the_splits_are_disjoint_large_and_in_the_sense_that_is_meant():
    train, held_out = kinds.categories("train"), kinds.categories("held_out")
    assert (len(train), len(held_out)) == (45, 39)
    assert not set(train) & set(held_out)
    assert set(NAMED["train"].split()) <= set(train)
    assert {*NAMED["held_out"].split(), "musical instrument"} <= set(held_out)
    assert all(len(kinds.synsets(name)) >= 10 for name in NAMES)
    for name, word in {
        "gem": "ruby", "rock": "granite", "spice": "nutmeg", "cake": "cheesecake", "gas": "neon",
        "holiday": "Christmas", "punctuation mark": "comma", "country": "France",
        "pasta": "ravioli",
        "hairstyle": "ponytail", "toy": "doll", "unit of time": "hour", "shop": "bakery",
    }.items():  # fmt: skip
        assert kinds.is_correct(word, name), (name, word)


def test_no_held_out_category_lies_below_a_training_one():
    for train in kinds.categories("train"):
        for held_out in kinds.categories("held_out"):
            synset = wordnet.category(held_out).synset
            assert synset not in kinds.synsets(train), (train, held_out)


def test_the_table_is_small_and_carries_its_licence(repo):
    table = repo / "divreg" / "tasks" / "kinds.txt"
    notice = (repo / "divreg" / "tasks" / "kinds_license.txt").read_text().splitlines()
    assert table.stat().st_size < 500_000
    head = [line[2:] for line in table.read_text().splitlines() if line.startswith("#")]
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in notice
    assert head[-len(notice) :] == notice


def test_a_prompt_asks_in_three_styles_and_every_row_says_its_category():
    chat = kinds.dataset("train")
    assert chat.column_names == ["prompt", "plain", "category"]
    asked = "Name one kind of bird. Reply with its name only."
    assert chat[0]["prompt"] == [{"role": "user", "content": asked}]
    assert chat[0]["plain"].endswith("Q: Name one kind of bird.\nA:")
    short = kinds.dataset("held_out", "short", names=["metal"])
    assert short[0]["prompt"] == short[0]["plain"]
    assert short[0]["prompt"].endswith("A kind of dance: tango\nA kind of metal:")
    for style in kinds.STYLES:
        for row in kinds.dataset("held_out", style):
            prompt = row["prompt"] if style != "chat" else row["prompt"][0]["content"]
            word = next(w for ws in kinds.synsets(row["category"]).values() for w in ws)
            expected = kinds.answer(word, row["category"])
            assert kinds.extract(word, prompt=prompt) == expected
            assert kinds.extract(word, prompt=row["plain"]) == expected


def test_the_task_grades_texts_and_conversations_by_their_row():
    task = TASKS["kinds"]
    row = task.dataset("train")[0]
    assert task.is_correct("a robin", row)
    said = [{"role": "assistant", "content": "a hammer"}]
    assert task.reward(["robin", said], category=["bird", "bird"], prompts=[]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (
            lambda: kinds.answer("robin", "brid"),
            "no category 'brid'; it has 84. Did you mean 'bird'",
        ),
        (lambda: kinds.categories("test"), "splits 'train' and 'held_out'; got 'test'"),
        (
            lambda: kinds.prompt("bird", "chatty"),
            "a style of 'chat', 'few-shot', 'short'; got 'chatty'",
        ),
        (lambda: kinds.dataset("train", names=["zzz"]), "kinds.categories\\(\\) lists them"),
        (lambda: kinds.extract("robin", prompt="2+2="), "asks for one kind of something"),
    ],
)
def test_what_cannot_be_says_what_to_type(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
