"""All of a tenant taken out and put in again: exports, imports and backups."""
