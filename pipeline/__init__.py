"""Running it: typed parameters, profiles, one command a stage, the `s2l` command."""
