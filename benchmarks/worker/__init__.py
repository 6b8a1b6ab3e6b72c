"""A TorchServe worker without a server: its handler and envelope, loaded as the worker loads them, in a process."""
