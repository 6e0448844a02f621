"""Why a policy cannot be built or served; each message says what to do."""


class PolicyError(ValueError):
    """A policy's settings or its artifact cannot be used."""


class PolicyMismatch(PolicyError):
    """An artifact was trained with another encoder or other features than the ones that serve."""


class ArtifactError(PolicyError):
    """An artifact's files are not what its manifest says, or not of a format this version reads."""
