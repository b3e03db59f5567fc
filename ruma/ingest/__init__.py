"""From sources to stored documents: read, split, embed, store."""
