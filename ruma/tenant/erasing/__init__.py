"""Erasing for good: what belongs to a thing, its removal, the search for what is left, and the receipt."""
