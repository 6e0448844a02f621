"""The gateways under test: how each is started, named and asked. One small file per gateway."""
