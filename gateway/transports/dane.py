"""Whether a server's certificates fulfil TLSA records (RFC 6698, as RFC 7671 and 7672 §3.1 narrow it for mail)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification

from gateway import clock
from gateway.dns.resolver import Tlsa

_TA, _EE = 2, 3
_DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: lambda raw: hashlib.sha256(raw).digest(),
    2: lambda raw: hashlib.sha512(raw).digest(),
}
_LENGTHS = {1: 32, 2: 64}


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that say something to a mail client: DANE-TA and DANE-EE of a known form."""
    return tuple(
        record
        for record in records
        if record.usage in (_TA, _EE)
        and record.selector in (0, 1)
        and record.matching in _DIGESTS
        and record.data
        and len(record.data) == _LENGTHS.get(record.matching, len(record.data))
    )


def match(certificates: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str]) -> Tlsa | None:
    """The record that the chain (the server's own first, in DER) fulfils.

    DANE-EE asks for neither name nor date (RFC 7672 §3.1.1); DANE-TA for a valid path from the matched
    certificate to one for any of `names`.
    """
    try:
        chain = [x509.load_der_x509_certificate(raw) for raw in certificates]
    except ValueError:
        return None
    if not chain:
        return None
    for record in records:
        if record.usage == _EE and _holds(record, chain[0]):
            return record
    for record in records:
        if record.usage == _TA and any(_leads(anchor, chain, names) for anchor in _anchors(record, chain)):
            return record
    return None


def _anchors(record: Tlsa, chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    found = [certificate for certificate in chain[1:] if _holds(record, certificate)]
    if not found and (record.selector, record.matching) == (0, 0):
        with contextlib.suppress(ValueError):  # RFC 7671 §5.2.2: a whole certificate in DNS need not be in the chain
            found = [x509.load_der_x509_certificate(record.data)]
    return found


def _holds(record: Tlsa, certificate: x509.Certificate) -> bool:
    try:
        raw = (
            certificate.public_bytes(Encoding.DER)
            if record.selector == 0
            else certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
    except ValueError:  # a key of a kind that is not known
        return False
    return _DIGESTS[record.matching](raw) == record.data


def _leads(anchor: x509.Certificate, chain: Sequence[x509.Certificate], names: Sequence[str]) -> bool:
    # The web's rules for extensions are not those of private authorities, whose word DNS vouches for.
    any_, agnostic = verification.ExtensionPolicy.permit_all(), verification.Criticality.AGNOSTIC
    builder = (
        verification.PolicyBuilder()
        .store(verification.Store([anchor]))
        .time(clock.now())
        .extension_policies(
            ca_policy=any_.require_present(x509.BasicConstraints, agnostic, None),
            ee_policy=any_.require_present(x509.SubjectAlternativeName, agnostic, None),
        )
    )
    for name in names:
        try:
            builder.build_server_verifier(x509.DNSName(name)).verify(chain[0], list(chain[1:]))
            return True
        except (verification.VerificationError, ValueError):
            continue
    return False
