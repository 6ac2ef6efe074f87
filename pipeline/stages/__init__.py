"""A file per stage: it reads its parameters, calls the room that does the work, and puts the result in its place."""
