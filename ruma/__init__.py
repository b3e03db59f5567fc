"""Ruma: an AI agent that answers a business's customers from its own documents, on its own machine."""

__version__ = "0.1.0"
