"""Currencies: how many decimals each has, and so what one minor unit of it is (1 JPY, 0.01 USD, 0.001 KWD).

Source: ISO 4217, list one, as its maintenance agency (SIX) published it on 2026-01-01. Codes to which ISO gives no
minor unit (gold, test codes) are left out. CLDR, which formatting libraries follow, tells how an amount is usually
shown, which for fifteen currencies is not ISO's figure (IQD, HUF, LBP).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW"
        " CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF"
        " IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK"
        " MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP"
        " SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG"
        " YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DECIMALS: Mapping[str, int] = MappingProxyType(
    {code: decimals for decimals, codes in _CODES.items() for code in codes.split()}
)
# Of a currency that ISO does not list.
UNLISTED_DECIMALS = 2


def decimals(currency: str) -> int:
    """The decimals of an amount in `currency`; those of most currencies if ISO does not list it."""
    return DECIMALS.get(currency, UNLISTED_DECIMALS)


def minor_unit(currency: str) -> Decimal:
    """One minor unit of `currency`, in it: 0.01 for USD."""
    return Decimal(1).scaleb(-decimals(currency))


def minor_unit_sql(column: str) -> str:
    """SQL for one minor unit of the currency that `column` names."""
    cases = [
        f"when {column} in ({', '.join(map(repr, codes.split()))}) then {minor_unit(codes[:3])}"
        for number, codes in _CODES.items()
        if number != UNLISTED_DECIMALS
    ]
    return f"(case {' '.join(cases)} else {Decimal(1).scaleb(-UNLISTED_DECIMALS)} end)"
