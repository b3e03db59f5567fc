"""One module a format: bytes in, plain text and its structure out. They run in the parser process alone."""
