"""The command `ruma`: turns words into calls, wires the parts once, prints results."""
