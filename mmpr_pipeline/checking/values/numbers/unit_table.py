"""Units of measure as data: what each is worth in base units, and of which dimensions.

Base units: metre L, kilogram M, second T, ampere I, kelvin K, mole N, candela J, radian A, bit B; each currency is a
dimension of its own. Worths are exact where they are by definition (BIPM, SI Brochure, 9th edition; NIST SP 811).
"""

from __future__ import annotations

from fractions import Fraction

_PI = "3.14159265358979323846"
_PREFIXES = {
    **{"p": "1e-12", "n": "1e-9", "u": "1e-6", "μ": "1e-6", "µ": "1e-6", "m": "1e-3", "c": "1e-2", "d": "1e-1"},
    **{"h": "1e2", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"},
}
_PREFIX_NAMES = {
    **{"pico": "1e-12", "nano": "1e-9", "micro": "1e-6", "milli": "1e-3", "centi": "1e-2", "deci": "1e-1"},
    **{"hecto": "1e2", "kilo": "1e3", "mega": "1e6", "giga": "1e9", "tera": "1e12"},
}

_PREFIXED = (
    # symbol, prefixes, names, worth, dimensions
    ("m", "pnuμµmcdk", "meter metre", "1", "L"),
    ("g", "nuμµmk", "gram gramme", "1e-3", "M"),
    ("s", "pnuμµm", "second", "1", "T"),
    ("A", "nuμµmk", "ampere amp", "1", "I"),
    ("K", "m", "kelvin", "1", "K"),
    ("mol", "nuμµmk", "mole", "1", "N"),
    ("cd", "", "candela", "1", "J"),
    ("rad", "m", "radian", "1", "A"),
    ("N", "uμµmkM", "newton", "1", "L M T-2"),
    ("J", "nuμµmkMG", "joule", "1", "L2 M T-2"),
    ("W", "nuμµmkMGT", "watt", "1", "L2 M T-3"),
    ("Pa", "mhkMG", "pascal", "1", "L-1 M T-2"),
    ("Hz", "mkMGT", "hertz", "1", "T-1"),
    ("C", "pnuμµmk", "coulomb", "1", "T I"),
    ("V", "nuμµmkM", "volt", "1", "L2 M T-3 I-1"),
    ("Ω", "mkMG", "", "1", "L2 M T-3 I-2"),
    ("ohm", "mkMG", "ohm", "1", "L2 M T-3 I-2"),
    ("S", "uμµmk", "siemens", "1", "L-2 M-1 T3 I2"),
    ("F", "pnuμµm", "farad", "1", "L-2 M-1 T4 I2"),
    ("H", "nuμµm", "henry", "1", "L2 M T-2 I-2"),
    ("Wb", "uμµm", "weber", "1", "L2 M T-2 I-1"),
    ("T", "nuμµm", "tesla", "1", "M T-2 I-1"),
    ("lm", "", "lumen", "1", "J"),
    ("lx", "", "lux", "1", "L-2 J"),
    ("Bq", "kMG", "becquerel", "1", "T-1"),
    ("Gy", "uμµm", "gray", "1", "L2 T-2"),
    ("Sv", "nuμµm", "sievert", "1", "L2 T-2"),
    ("L", "nuμµmcdh", "liter litre", "1e-3", "L3"),
    ("l", "nuμµmcdh", "", "1e-3", "L3"),
    ("bar", "mk", "bar", "1e5", "L-1 M T-2"),
    ("eV", "mkMGT", "electronvolt", "1.602176634e-19", "L2 M T-2"),
    ("cal", "k", "calorie", "4.184", "L2 M T-2"),
    ("Wh", "mkMGT", "", "3600", "L2 M T-2"),
    ("M", "nuμµm", "molar", "1000", "L-3 N"),
    ("bit", "kMGT", "bit", "1", "B"),
    ("B", "kMGT", "byte", "8", "B"),
    ("pc", "kM", "parsec", "30856775814913673", "L"),
    ("yr", "kM", "", "31557600", "T"),
)
_PLAIN = (
    # names, worth, dimensions
    ("米", "1", "L"), ("厘米", "1e-2", "L"), ("毫米", "1e-3", "L"), ("千米 公里", "1000", "L"), ("分米", "0.1", "L"),
    ("纳米", "1e-9", "L"), ("微米 micron", "1e-6", "L"), ("里", "500", "L"), ("inch in", "0.0254", "L"),
    ("ft foot feet", "0.3048", "L"), ("yd yard", "0.9144", "L"), ("mi mile", "1609.344", "L"),
    ("nmi", "1852", "L"), ("Å angstrom ångström", "1e-10", "L"), ("ly lightyear light-year", "9460730472580800", "L"),
    ("AU au", "149597870700", "L"), ("fathom", "1.8288", "L"), ("furlong", "201.168", "L"), ("fm", "1e-15", "L"),
    ("千克 公斤", "1", "M"), ("克", "1e-3", "M"), ("毫克", "1e-6", "M"), ("斤", "0.5", "M"), ("吨", "1000", "M"),
    ("ton tonne t", "1000", "M"), ("lb lbs pound", "0.45359237", "M"), ("oz ounce", "0.028349523125", "M"),
    ("stone", "6.35029318", "M"), ("u amu Da dalton", "1.66053906660e-27", "M"), ("carat", "2e-4", "M"),
    ("grain", "6.479891e-5", "M"), ("slug", "14.593902937", "M"),
    ("sec 秒", "1", "T"), ("毫秒", "1e-3", "T"), ("min mins minute 分钟", "60", "T"),
    ("h hr hrs hour 小时 时", "3600", "T"),
    ("day d 天 日", "86400", "T"), ("week wk 周 星期", "604800", "T"), ("year 年", "31557600", "T"),
    ("month 月 个月", "2629800", "T"), ("decade", "315576000", "T"), ("century centuries", "3155760000", "T"),
    ("fortnight", "1209600", "T"), ("fs", "1e-15", "T"),
    ("deg degree 度", f"{_PI}/180", "A"), ("弧度", "1", "A"), ("arcmin arcminute", f"{_PI}/10800", "A"),
    ("arcsec arcsecond", f"{_PI}/648000", "A"), ("rev revolution turn", f"2*{_PI}", "A"),
    ("rpm", f"{_PI}/30", "A T-1"),
    ("升", "1e-3", "L3"), ("毫升 cc", "1e-6", "L3"), ("gallon gal", "3.785411784e-3", "L3"),
    ("quart qt", "9.46352946e-4", "L3"), ("pint pt", "4.73176473e-4", "L3"), ("cup", "2.365882365e-4", "L3"),
    ("tablespoon tbsp", "1.478676478125e-5", "L3"), ("teaspoon tsp", "4.92892159375e-6", "L3"),
    ("fl oz", "2.95735295625e-5", "L3"), ("barrel bbl", "0.158987294928", "L3"),
    ("hectare ha 公顷", "10000", "L2"), ("acre", "4046.8564224", "L2"), ("亩", "2000/3", "L2"), ("barn", "1e-28", "L2"),
    ("mph", "0.44704", "L T-1"), ("kph kmh km/hr", "1000/3600", "L T-1"), ("knot kn", "1852/3600", "L T-1"),
    ("牛 牛顿", "1", "L M T-2"), ("dyn dyne", "1e-5", "L M T-2"), ("lbf", "4.4482216152605", "L M T-2"),
    ("kgf", "9.80665", "L M T-2"),
    ("焦 焦耳", "1", "L2 M T-2"), ("千焦", "1000", "L2 M T-2"), ("erg", "1e-7", "L2 M T-2"),
    ("BTU Btu", "1055.05585262", "L2 M T-2"), ("Cal", "4184", "L2 M T-2"), ("kilowatt-hour", "3600000", "L2 M T-2"),
    ("瓦 瓦特", "1", "L2 M T-3"), ("千瓦", "1000", "L2 M T-3"), ("hp horsepower", "745.69987158227022", "L2 M T-3"),
    ("帕", "1", "L-1 M T-2"), ("atm atmosphere", "101325", "L-1 M T-2"), ("mmHg", "101325/760", "L-1 M T-2"),
    ("torr Torr", "101325/760", "L-1 M T-2"), ("psi", "6894.757293168", "L-1 M T-2"),
    ("赫兹", "1", "T-1"), ("安 安培", "1", "I"), ("伏 伏特", "1", "L2 M T-3 I-1"), ("欧 欧姆", "1", "L2 M T-3 I-2"),
    ("库仑", "1", "T I"), ("G gauss", "1e-4", "M T-2 I-1"), ("dioptre diopter", "1", "L-1"),
    ("摩尔", "1", "N"), ("Ci curie", "3.7e10", "T-1"),
    ("celsius degC ℃ 摄氏度", "1", "celsius"), ("fahrenheit degF ℉ 华氏度", "1", "fahrenheit"),
    ("$ dollar usd USD buck 美元", "1", "USD"), ("cent penny pennies ¢", "0.01", "USD"),
    ("nickel", "0.05", "USD"), ("dime", "0.1", "USD"),
    ("元 yuan rmb RMB ¥ cny CNY 块 块钱 人民币", "1", "CNY"), ("角 毛", "0.1", "CNY"), ("分钱", "0.01", "CNY"),
    ("€ euro eur EUR", "1", "EUR"), ("₹ rupee rs Rs inr INR 卢比", "1", "INR"), ("日元 yen jpy JPY", "1", "JPY"),
    ("£ gbp GBP", "1", "GBP"), ("pence", "0.01", "GBP"),
    ("% percent 百分", "1", "%"), ("ppm", "1e-4", "%"),
)  # fmt: skip

Dimensions = tuple[tuple[str, int], ...]


def _worth(text: str) -> Fraction:
    """`3.14/180`, `2*3.14`, `1e-3`."""
    top, _, bottom = text.partition("/")
    left, _, right = top.partition("*")
    return Fraction(left) * Fraction(right or 1) / Fraction(bottom or 1)


def _dimensions(text: str) -> Dimensions:
    if (text.isalpha() and len(text) > 1) or text == "%":
        return ((text, 1),)
    return tuple((part[0], int(part[1:] or 1)) for part in text.split())


def _units() -> dict[str, tuple[Fraction, Dimensions]]:
    table: dict[str, tuple[Fraction, Dimensions]] = {}
    for names, worth, dimensions in _PLAIN:
        for name in ("fl oz",) if names == "fl oz" else names.split():
            table[name] = (_worth(worth), _dimensions(dimensions))
    for symbol, prefixes, names, worth, dimensions in _PREFIXED:
        table[symbol] = value, of = (_worth(worth), _dimensions(dimensions))
        for prefix in prefixes:
            table.setdefault(prefix + symbol, (Fraction(_PREFIXES[prefix]) * value, of))
        for name in names.split():
            table[name] = (value, of)
            for prefix, size in _PREFIX_NAMES.items():
                table.setdefault(prefix + name, (Fraction(size) * value, of))
    return table


UNITS = _units()
"""Name or symbol -> worth in base units, dimensions. Symbols keep their case: `mW` is not `MW`."""
