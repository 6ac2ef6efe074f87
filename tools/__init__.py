"""What writes the generated pages and the picture of docs/: `python -m tools.write_docs`."""
