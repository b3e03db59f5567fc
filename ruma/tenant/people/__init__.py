"""The people and programs that sign in: members, passwords, second factors, sessions, API keys, and their doors."""
