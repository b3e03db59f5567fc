"""The JSON API of a tenant: one module for each thing that it is about."""
