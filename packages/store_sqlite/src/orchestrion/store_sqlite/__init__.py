"""A durable state store in one SQLite file."""
