"""Markdown and plots from results."""
