"""What both sides share: arms, contexts, encoders, predictions, policies, records, artifacts, the command line."""
