"""What both sides share: arms, contexts, encoders, predictions, the served policies, records, artifacts and the command line."""
