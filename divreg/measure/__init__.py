"""Files of generations to numbers: how different the completions of a prompt are."""

from divreg.measure.command import add_arguments as add_arguments
from divreg.measure.command import main as main

__all__ = ["add_arguments", "main"]
