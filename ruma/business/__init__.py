"""What the business is told, and how: its mail."""
