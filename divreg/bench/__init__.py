"""``divreg bench``: methods x seeds on one task, as data and a Pareto page."""

from divreg.bench.command import add_arguments as add_arguments
from divreg.bench.command import main as main
