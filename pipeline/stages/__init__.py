"""One file per stage: it reads its parameters, calls the package that does the work, and puts the result in place."""
