"""Amounts are integers in minor units ("cents"), in one of the currencies of ISO 4217.

Amounts and balances stay within ±(2^53 - 1), the integers that every JSON reader keeps exactly (RFC 7493, section
2.2): a balance that a client could misread is refused before it exists.
"""

from collections.abc import Mapping

MAX_CENTS = 2**53 - 1

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


def minor_digits(currency: str) -> int:
    """Return the number of decimal places of a currency."""
    return _MINOR_DIGITS.get(currency, 2)


def decimal_text(cents: int, currency: str) -> str:
    """Return an amount in units of its currency, exact, with all its decimal places: `-0.05`, `100`, `1.000`."""
    digits = minor_digits(currency)
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
