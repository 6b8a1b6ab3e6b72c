"""The servers under test: how each is started, reached, measured and stopped."""
