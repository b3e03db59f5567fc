"""From a question to a cited answer: understand, search, choose evidence, write, check."""
