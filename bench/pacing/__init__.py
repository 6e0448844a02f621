"""Whether a budget lasts its window, and at what quality: our pacer beside a hard stop and ParetoBandit's."""
