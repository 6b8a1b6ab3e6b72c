"""TorchServe's inference address."""
