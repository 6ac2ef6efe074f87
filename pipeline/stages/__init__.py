"""One file per stage: it reads its parameters, calls the package that does the work, and moves the result into place."""
