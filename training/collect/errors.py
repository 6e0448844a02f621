"""Why a collection cannot start or go on; each message says what to do."""


class CollectError(Exception):
    """The prompts, the folder or the gateway cannot be used."""


class GatewayDown(CollectError):
    """No gateway answers."""


class UnknownCost(CollectError):
    """An answer came without its cost, so the cap cannot be kept. Unknown is an error, never zero."""
