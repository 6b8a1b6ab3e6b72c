"""Starts TorchServe and the wrapper, watches both and ends both."""
