"""The experiments as a site that opens from disk: an index, and a page for each table or figure of the papers."""
