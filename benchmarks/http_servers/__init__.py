"""The wrapper behind other HTTP servers than its own, as far as ``python -m benchmarks http`` needs them."""
