"""The keys: each tenant's own, what seals it, where that is kept, and how all of it is changed."""
