"""From a data set to the table of faces: landmarks, crops and simulated faces are filled in, duplicates found."""
