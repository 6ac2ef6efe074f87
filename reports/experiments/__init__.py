"""The papers' tables and figures as experiments: what each compares, its rows as files, and its page."""
