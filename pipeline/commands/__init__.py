"""The commands of `s2l`, a file for those that belong together; `pipeline.cli` finds them by name."""
