"""The figures that the papers published, to be set beside ours."""
