"""What is wrong with a workflow file."""


class WorkflowFault(Exception):
    """``reason`` is a phrase for the operator; it goes behind the file's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
