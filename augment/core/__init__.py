"""What every other room stands on: errors that name the mend, atomic files, seeds, progress, processes."""
