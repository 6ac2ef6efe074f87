"""Metrics of synthetic faces: distances between distributions, recognition, movement, patterns."""
