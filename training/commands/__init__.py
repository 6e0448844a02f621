"""The training verbs of the command line; each module holds one ``command``."""
