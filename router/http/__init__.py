"""The HTTP edge: everything between bytes on a socket and the pipeline, in both directions."""
