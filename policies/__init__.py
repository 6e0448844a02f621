"""What both sides share: arms, contexts, encoders, predictions, served policies, records, artifacts, the command line."""
