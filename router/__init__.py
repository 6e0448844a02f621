"""The gateway: HTTP surface, request pipeline, upstreams, store, and everything one live request touches."""
