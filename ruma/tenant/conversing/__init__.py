"""What visitors wrote and chose, and what members do with it."""
