"""What every stage uses: its sections of params.yaml, its files, its messages, its records."""
