"""The commands of `s2l`, grouped by file; `pipeline.cli` imports them by name."""
