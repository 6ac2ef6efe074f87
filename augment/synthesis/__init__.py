"""Synthetic faces by the thousand, and which of them are kept."""
