"""Wire forms of the worker: what TorchServe hands over, and what goes back. They know no torch."""
