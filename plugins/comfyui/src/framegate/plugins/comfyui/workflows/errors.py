"""The error of a workflow file that can't be used."""


class WorkflowError(Exception):
    """A workflow file can't be used.

    ``reason`` is a phrase for the operator, without a full stop; it follows the file's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
