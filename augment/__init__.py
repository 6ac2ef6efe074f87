"""Making faces: sources, the table of faces, translators, synthesis and selection."""
