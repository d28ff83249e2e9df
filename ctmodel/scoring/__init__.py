"""Scores and their intervals, from labels and probabilities alone."""
