"""Runs everything: typed parameters, profiles, one command per stage, the `s2l` command."""
