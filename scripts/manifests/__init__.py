"""Checks Kubernetes manifests before a cluster sees them: ``python -m scripts.manifests``."""
