"""The model: loaded, placed, compiled, run."""
