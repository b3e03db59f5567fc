"""What people have a right to: their data, given out and taken away."""
