"""What is measured on synthetic faces: distances of distributions, recognition, movement, patterns."""
