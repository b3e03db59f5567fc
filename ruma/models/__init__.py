"""The embedder, the language model in its own process, and the catalogue of model files."""
