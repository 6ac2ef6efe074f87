"""A user's own photographs through a trained translator."""
