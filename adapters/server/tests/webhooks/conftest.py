from tests.support.receiving import start_receiver
from tests.support.valkey import client, valkey

__all__ = ["client", "start_receiver", "valkey"]
