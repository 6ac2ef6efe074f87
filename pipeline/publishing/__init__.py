"""Faces as a folder that can be given away: export, its check, and where each face comes from."""
