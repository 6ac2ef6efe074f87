"""What every other room stands on: errors that name the fix, atomic files, seeds, progress, processes."""
