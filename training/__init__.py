"""From logs and outcome tables to a better policy: fitting, evaluation, reports; reaches a gateway only over HTTP."""
