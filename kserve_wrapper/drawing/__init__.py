"""Explanations as a person can look at them: a heat map over a picture, coloured words, a coloured table."""
