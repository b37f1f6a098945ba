"""Certificates that `muster ca` would never make."""
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make(folder, name, authority, uris, lifetime=datetime.timedelta(days=1), start=None, hosts=()):
    """Signs a key with `authority` (certificate file, key file). Gives the paths (certificate, key)."""
    certificate_file, key_file = map(pathlib.Path, authority)
    issuer = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    issuer_key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    start = start or datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
               .issuer_name(issuer.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(start).not_valid_after(start + lifetime)
               .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
               .add_extension(x509.KeyUsage(True, *[False] * 8), critical=True))
    names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(host) for host in hosts]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    folder = pathlib.Path(folder)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder / f"{name}.pem", folder / f"{name}.key"


def request(uri):
    """Gives (certificate request as PEM text, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = (x509.CertificateSigningRequestBuilder()
             .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "function")]))
             .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
             .sign(key, hashes.SHA256()))
    return built.public_bytes(serialization.Encoding.PEM).decode(), key


def names_in(pem):
    """URIs of a certificate's SAN."""
    found = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.UniformResourceIdentifier)
