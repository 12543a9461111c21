"""Options of the commands that sample models."""

import argparse
from pathlib import Path


def add_sampling(parser: argparse.ArgumentParser, folder: str) -> None:
    """Give a parser the options of how samples are drawn, and where they go.

    Args:
        parser: Of the command.
        folder: Where they go where nothing is said.
    """
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (1)")
    parser.add_argument("--top-p", type=float, default=1.0, help="of sampling (1)")
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "vllm"),
        default="auto",
        help="auto: vLLM where it is installed and there is a GPU",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=256,
        metavar="N",
        help="samples at once (256)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of sampling and intervals (0)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help=f"where samples and numbers go ({folder})",
    )
