"""Results published in the papers, to show beside a run's own."""
