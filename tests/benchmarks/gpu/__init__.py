"""The diffusers backends on a GPU: a smoke test, and what each optimisation gains beside plain diffusers.

    python -m tests.benchmarks.gpu smoke vae stacks whole targets --output results/h200

The architectures have their full size and random weights that are made on the card: nothing is downloaded,
and speed doesn't depend on the values. Without a GPU the same parts run with tiny models, as their test does.
"""
