"""A certificate authority for tests, and certificates for 127.0.0.1 and for another host name."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """An authority whose certificate and server certificates are files in `folder`."""

    def __init__(self, folder: Path, *, name: str = "an authority of the tests") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _certificate(self._name, self._name, self._key.public_key())
        certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))
        self.server = self._vouched_for(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        self.other_server = self._vouched_for(x509.DNSName("elsewhere.test"))

    @property
    def client(self) -> ssl.SSLContext:
        """A TLS context that trusts only this authority."""
        context = ssl.create_default_context(cafile=self.bundle)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the certificates have no optional extensions
        return context

    def _vouched_for(self, name: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_named("a server"), self._name, key.public_key())
        certificate = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        file = self._folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + _pem(certificate.sign(self._key, hashes.SHA256())))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(hours=1),
        not_valid_after=now + dt.timedelta(days=1),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
