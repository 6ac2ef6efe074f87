"""The one loop that trains every learned translator."""
