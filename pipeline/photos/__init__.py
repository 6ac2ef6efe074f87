"""Translates a user's own photographs with a trained translator."""
