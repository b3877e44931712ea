"""TLS of the API's listeners, with clients' certificates where a CA for them is configured."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    CertificateOptions,
    TLSVersion,
)

from vncproxy.config.read import ConfigError
from vncproxy.config.topics.api import Api


def tls_options(api: Api) -> CertificateOptions:
    """Return the TLS that the configuration describes.

    Raises:
        ConfigError: a file can't be read, or holds something else.
    """
    files = ", ".join(filter(None, (api.api_cert, api.api_key, api.api_client_ca)))
    try:
        options = _options(api)
        options.getContext()  # raises what is wrong with the files now, not at each connection
        return options
    except OSError as error:
        fault = f"{error.filename}: {error.strerror}"
        raise ConfigError(f"[vncproxy] api_cert: {fault}") from error
    except (SSL.Error, crypto.Error, ValueError, IndexError) as error:
        raise ConfigError(
            f"[vncproxy] api_cert: {files}: no certificate with its key; check the files"
        ) from error


def _options(api: Api) -> CertificateOptions:
    certificate_file = Path(api.api_cert or "")
    chain = _certificates(certificate_file)
    key_pem = Path(api.api_key or certificate_file).read_bytes()
    authorities = _certificates(Path(api.api_client_ca)) if api.api_client_ca else []
    return CertificateOptions(
        privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key_pem),
        certificate=chain[0],
        extraCertChain=chain[1:],
        verify=bool(authorities),
        caCerts=authorities,
        # Who has none may have a token; and who has neither hears it in words.
        requireCertificate=False,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


def _certificates(path: Path) -> list[crypto.X509]:
    loaded = x509.load_pem_x509_certificates(path.read_bytes())
    return [crypto.X509.from_cryptography(certificate) for certificate in loaded]
