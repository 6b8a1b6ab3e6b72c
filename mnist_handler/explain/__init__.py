"""Captum's attributions of many requests at once."""
