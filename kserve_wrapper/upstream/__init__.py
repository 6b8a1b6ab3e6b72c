"""HTTP to TorchServe's addresses: a pool for inference, single requests for what is asked now and then."""
