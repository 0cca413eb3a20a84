from tests.support.receiving import start_receiver

__all__ = ["start_receiver"]
