"""What concerns TorchServe itself: its files, its management address, its processes."""
