"""Tenants and keys kept in the store, beside those of the configuration file, and the record of who changed them."""
