"""What routing saved against a declared baseline, on the gateway's own log, with honest intervals."""
