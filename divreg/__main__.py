"""``python -m divreg``: what ``accelerate launch -m divreg grpo --config recipe.yaml`` runs."""

from divreg.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
