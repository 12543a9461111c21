"""A lineage of checkpoints: how different each still answers, and at which stage that went."""

from divreg.trace.command import add_arguments as add_arguments
from divreg.trace.command import main as main

__all__ = ["add_arguments", "main"]
