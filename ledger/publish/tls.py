"""The certificates with which brokers and the ledger trust each other."""

import ssl
from pathlib import Path

from ledger.publish.destination import DestinationError


def create_context(
    broker: str, ca_file: Path | None, certificate_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """Return how to encrypt connections to a broker. Raises `DestinationError` if a file cannot be used."""
    variable = f"LEDGER_{broker}_CA_FILE"
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file is not None:
            variable = f"LEDGER_{broker}_CERTIFICATE_FILE or LEDGER_{broker}_KEY_FILE"
            context.load_cert_chain(certificate_file, key_file)
    except OSError as error:  # of ssl, too
        raise DestinationError(f"{variable}: cannot be used: {error.strerror or error}") from error
    return context
