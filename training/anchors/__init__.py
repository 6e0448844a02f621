"""Anchors: a few prompts from which a new arm's mean quality is known well, chosen and read by survey sampling."""
