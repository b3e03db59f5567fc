"""The tenant's directory, keys and database: all SQL and the search index."""
