"""Columns that speak of persons, recognised by their names and by the shape of their values."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hazy_pipeline.profile.facts import ColumnFacts
from hazy_pipeline.profile.values import is_number, is_text
from hazy_pipeline.schema import Kind

_SHAPE_SHARE = 0.8  # of the sampled distinct values must have the shape; the rest are typing errors
_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Personal:
    what: str  # in words, with an article
    kind: Kind
    strict: bool  # the values themselves are personal, however often they repeat


def words_of(name: str) -> tuple[str, ...]:
    """A column's name as lower-case words: `hostName`, `host_name` and `HOST-NAME` are all `("host", "name")`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(word.lower() for word in re.findall(r"[^\W_]+", spaced))


_SHAPES: tuple[tuple[str, str], ...] = (
    ("e-mail addresses", r"^\s*[^@\s]+@[^@\s]+\.[^@\s.]+\s*$"),
    ("UUIDs", r"^\{?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\}?$"),
    ("social security numbers", r"^\d{3}-\d{2}-\d{4}$"),
    ("IBANs", r"^[A-Z]{2}\d{2} ?([A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}$"),
    ("IP addresses", r"^(\d{1,3}\.){3}\d{1,3}$|^([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}$|^[0-9a-fA-F:]*::[0-9a-fA-F:]*$"),
    ("hardware addresses", r"^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$"),
    ("telephone numbers", r"^(\+|00)\d[\d\s()./-]{6,18}$|^\(\d{2,5}\)\s?[\d\s./-]{5,14}$|^\d{3}-\d{3}-\d{4}$"),
    ("hash values", r"^([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64})$"),
)  # fmt: skip
_CARD = r"^\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}$|^3[47]\d{2}[ -]?\d{6}[ -]?\d{5}$"
_DIGITS = r"^[+(]?\d[\d\s()./-]{4,20}$"

_PHONE = {"phone", "telephone", "mobile", "cellphone", "fax", "msisdn", "telefon", "handy", "tel", "phonenumber"}
_NUMBERS_OF_PERSONS = (
    {"ssn"}, {"social", "security"}, {"passport"}, {"national", "id"}, {"tax", "id"}, {"birth", "number"}, {"personnummer"},
    {"cpf"}, {"nhs", "number"}, {"iban"}, {"credit", "card", "number"}, {"card", "number"}, {"cc", "number"},
    {"account", "number"}, {"account", "no"}, {"account", "nr"}, {"driver", "license"}, {"license", "plate"},
)  # fmt: skip
_ACCOUNT = {"account", "to", "from", "bank", "sender", "receiver", "counterparty"}
_PERSONS = {
    "first", "last", "full", "given", "family", "middle", "maiden", "host", "customer", "client", "user", "person",
    "patient", "employee", "contact", "owner", "driver", "guest", "holder", "cardholder", "passenger", "player",
    "student", "teacher", "author", "buyer", "seller", "recipient", "sender", "member", "manager", "agent", "nick",
    "display", "legal", "birth", "doctor", "spouse", "father", "mother", "subscriber", "resident", "applicant",
}  # fmt: skip
_NAMES = {
    "firstname", "lastname", "fullname", "surname", "forename", "vorname", "nachname", "familienname", "username",
    "middlename", "givenname", "familyname", "nickname", "hostname", "customername", "personname", "fname", "lname",
}  # fmt: skip
_ADDRESS = {"address", "addr", "street", "strasse", "straße", "streetname", "addressline", "anschrift", "adresse"}
_NOT_STREETS = {
    "ip",
    "mail",
    "email",
    "mac",
    "web",
    "url",
    "memory",
    "bus",
    "type",
    "count",
    "state",
    "city",
    "country",
}


def personal(facts: ColumnFacts) -> Personal | None:
    """What kind of personal data a column holds, or None. A few values of a person's name are no names, but labels."""
    words = words_of(facts.name)
    have = set(words)
    kind = facts.values.type
    if not (is_text(kind) or is_number(kind)) or not len(facts.values):
        return None
    texts = pc.cast(facts.values.slice(0, _LOOKED_AT), pa.string())
    code = Kind.IDENTIFIER
    if is_text(kind):
        for what, pattern in _SHAPES:
            if _share(texts, pattern) >= _SHAPE_SHARE:
                return Personal(what, code, strict=True)
    many = facts.distinct > min(50, max(facts.n_valid // 20, 5))
    if _share(texts, _CARD) >= _SHAPE_SHARE and _luhn_share(texts) >= _SHAPE_SHARE and facts.distinct > 5:
        return Personal("payment card numbers", code, strict=True)
    digits = _share(pc.replace_substring_regex(texts, r"\.0+$", ""), _DIGITS) >= _SHAPE_SHARE
    if have & _PHONE and digits:
        return Personal("telephone numbers", code, strict=True)
    if many and (any(number <= have for number in _NUMBERS_OF_PERSONS) or ("account" in have and have <= _ACCOUNT)):
        return Personal("personal or account numbers", code, strict=True)
    if not is_text(kind):
        return None
    if many and (have & _NAMES or (words[-1:] == ("name",) and have & _PERSONS)):
        return Personal("names of persons", Kind.TEXT, strict=False)
    if many and have & _ADDRESS and not have & _NOT_STREETS:
        return Personal("postal addresses", Kind.TEXT, strict=True)
    return None


def _share(texts: pa.Array, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(texts, pattern)).as_py() or 0.0)


def _luhn_share(texts: pa.Array) -> float:
    """The share of digit strings whose check digit is right (ISO/IEC 7812-1, annex B); a tenth by chance."""
    plain = pc.utf8_lpad(pc.replace_substring_regex(texts, r"\D", ""), 20, "0")
    digits = np.frombuffer("".join(plain.to_pylist()).encode("ascii", "replace"), np.uint8).reshape(-1, 20) - ord("0")
    doubled = digits[:, -2::-2].astype(np.int64) * 2
    total = digits[:, -1::-2].astype(np.int64).sum(axis=1) + np.where(doubled > 9, doubled - 9, doubled).sum(axis=1)
    return float((total % 10 == 0).mean())
