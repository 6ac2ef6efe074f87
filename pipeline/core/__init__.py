"""What stands around every stage: its part of params.yaml, its files, its messages, its records."""
