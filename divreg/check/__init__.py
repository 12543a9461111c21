"""How many different right answers a model still has: no run, no training."""

from divreg.check.command import add_arguments as add_arguments
from divreg.check.command import main as main

__all__ = ["add_arguments", "main"]
