"""Amounts are integers in minor units ("cents"), in a currency of ISO 4217 or in an asset that the ledger registered.

Amounts and balances stay within ±(2^53 - 1), the integers that every JSON reader keeps exactly (RFC 7493, section
2.2): a balance that a client could misread is refused before it exists.
"""

import re
from collections.abc import Mapping

MAX_CENTS = 2**53 - 1
MAX_DIGITS = 18  # decimal places of an asset, as the smallest units of the common crypto-assets have them
MAX_CODE_LENGTH = 16
CODE_PATTERN = "^[A-Z]([A-Z0-9._-]{0,14}[A-Z0-9])?$"  # those of ISO 4217 are among them
RESERVED_CODES = frozenset(("TRUE", "FALSE", "NULL"))  # journals for beancount have these words as values
UNKNOWN_ASSET = "must be an ISO 4217 code, or the code of a registered asset"

# ISO 4217 list one as of amendment 180, which SIX publishes for ISO: the active codes of national currencies and XDR.
# Codes of funds, metals, units of account and tests are left out. `tests/unit/test_money.py` compares both tables of
# this module with `tests/data/iso4217/list-one.tsv`, a copy of the published list: to follow an amendment, replace it.
CURRENT_CURRENCIES = frozenset(
    [
        "AED",
        "AFN",
        "ALL",
        "AMD",
        "AOA",
        "ARS",
        "AUD",
        "AWG",
        "AZN",
        "BAM",
        "BBD",
        "BDT",
        "BHD",
        "BIF",
        "BMD",
        "BND",
        "BOB",
        "BRL",
        "BSD",
        "BTN",
        "BWP",
        "BYN",
        "BZD",
        "CAD",
        "CDF",
        "CHF",
        "CLP",
        "CNY",
        "COP",
        "CRC",
        "CUP",
        "CVE",
        "CZK",
        "DJF",
        "DKK",
        "DOP",
        "DZD",
        "EGP",
        "ERN",
        "ETB",
        "EUR",
        "FJD",
        "FKP",
        "GBP",
        "GEL",
        "GHS",
        "GIP",
        "GMD",
        "GNF",
        "GTQ",
        "GYD",
        "HKD",
        "HNL",
        "HTG",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "IQD",
        "IRR",
        "ISK",
        "JMD",
        "JOD",
        "JPY",
        "KES",
        "KGS",
        "KHR",
        "KMF",
        "KPW",
        "KRW",
        "KWD",
        "KYD",
        "KZT",
        "LAK",
        "LBP",
        "LKR",
        "LRD",
        "LSL",
        "LYD",
        "MAD",
        "MDL",
        "MGA",
        "MKD",
        "MMK",
        "MNT",
        "MOP",
        "MRU",
        "MUR",
        "MVR",
        "MWK",
        "MXN",
        "MYR",
        "MZN",
        "NAD",
        "NGN",
        "NIO",
        "NOK",
        "NPR",
        "NZD",
        "OMR",
        "PAB",
        "PEN",
        "PGK",
        "PHP",
        "PKR",
        "PLN",
        "PYG",
        "QAR",
        "RON",
        "RSD",
        "RUB",
        "RWF",
        "SAR",
        "SBD",
        "SCR",
        "SDG",
        "SEK",
        "SGD",
        "SHP",
        "SLE",
        "SOS",
        "SRD",
        "SSP",
        "STN",
        "SVC",
        "SYP",
        "SZL",
        "THB",
        "TJS",
        "TMT",
        "TND",
        "TOP",
        "TRY",
        "TTD",
        "TWD",
        "TZS",
        "UAH",
        "UGX",
        "USD",
        "UYU",
        "UZS",
        "VED",
        "VES",
        "VND",
        "VUV",
        "WST",
        "XAF",
        "XCD",
        "XCG",
        "XDR",
        "XOF",
        "XPF",
        "YER",
        "ZAR",
        "ZMW",
        "ZWG",
    ]
)

# Codes that have left list one since, with the day: accounts that exist go on, and new ones are refused.
WITHDRAWN: Mapping[str, str] = {"BGN": "2026-01-01"}  # amendment 180: Bulgaria adopted the euro
CURRENCIES = CURRENT_CURRENCIES | WITHDRAWN.keys()

# ISO 4217 list one, column "minor unit", where it is not 2. XDR has none there; its "cents" are hundredths here.
_MINOR_DIGITS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


_match_code = re.compile(CODE_PATTERN).fullmatch


def is_code(text: str) -> bool:
    """Return whether a text can be the code of a currency or an asset."""
    return _match_code(text) is not None


class Assets:
    """The currencies of ISO 4217 and the assets that a ledger has registered, with their decimal places."""

    def __init__(self, registered: Mapping[str, int]) -> None:
        """Take the decimal places of the registered assets by their codes."""
        self._registered = registered

    @property
    def max_digits(self) -> int:
        """Return the most decimal places that an amount can have."""
        return max([*_MINOR_DIGITS.values(), *self._registered.values()])

    def digits(self, code: str) -> int:
        """Return the number of decimal places of a currency or an asset. Raises `ValueError` if it is unknown.

        A registered asset keeps its digits if ISO 4217 takes its code later.
        """
        registered = self._registered.get(code)
        if registered is not None:
            return registered
        if code not in CURRENCIES:
            raise ValueError(UNKNOWN_ASSET)
        return _MINOR_DIGITS.get(code, 2)

    def format(self, cents: int, code: str) -> str:
        """Return an amount in units, exact, with all its decimal places: `-0.05`, `100`, `1.000`."""
        return decimal_text(cents, self.digits(code))


CURRENCIES_ALONE = Assets({})


def check_code(text: str) -> str:
    """Return a text that can be the code of a currency or an asset. Raises `ValueError`."""
    if not is_code(text):
        raise ValueError(UNKNOWN_ASSET)
    return text


def decimal_text(cents: int, digits: int) -> str:
    """Return an amount in units that have so many decimal places, exact and with all of them."""
    sign, text = "-" if cents < 0 else "", str(abs(cents)).rjust(digits + 1, "0")
    return sign + (f"{text[:-digits]}.{text[-digits:]}" if digits else text)


def format_sums(**sums: int) -> dict[str, int | str | None]:
    """Return sums, which may exceed `MAX_CENTS`, as members of a JSON object.

    Each member is the integer, or None where a reader might round it. A second member, whose name ends in `_text`, is
    the same integer in digits, and exact at any size.
    """
    members: dict[str, int | str | None] = {
        name: cents if abs(cents) <= MAX_CENTS else None for name, cents in sums.items()
    }
    return members | {f"{name}_text": str(cents) for name, cents in sums.items()}
