"""What the agent answers from: sources, uploads, documents with their originals, pairs, and the search index."""
