"""Words of mathematical writing: function names, Greek letters, relations, connectives, conditions and unit words."""

from __future__ import annotations

_OWN_NAMES = (
    "sin cos tan cot sec csc sinh cosh tanh asin acos atan ln exp sqrt abs max min gcd lcm det floor ceil log sgn arg"
)
FUNCTIONS: dict[str, str] = {name: name for name in _OWN_NAMES.split(" ")} | {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc",
    "lg": "log10", "tg": "tan", "ctg": "cot", "arctg": "atan", "cosec": "csc", "sign": "sgn",
}  # fmt: skip

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega hbar ell"
)
GREEK: dict[str, str] = {name: name for name in _GREEK_NAMES.split(" ")} | {
    "varphi": "phi",
    "varepsilon": "epsilon",
    "vartheta": "theta",
    "varrho": "rho",
    "varsigma": "sigma",
}

RELATIONS: dict[str, str] = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", "=<": "<=", ">=": ">=", "=>": ">=", "!=": "!=", "<>": "!=",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", r"\leqq": "<=", r"\lt": "<", r"\ge": ">=", r"\geq": ">=",
    r"\geqslant": ">=", r"\geqq": ">=", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\in": "in", r"\notin": "notin",
    r"\equiv": "equiv", r"\approx": "approx", r"\simeq": "approx", r"\colon": "=", r"\subset": "subset",
    r"\subseteq": "subset",
}  # fmt: skip


CONNECTIVES = frozenset({"and", "or", ", and", ", or", "和", "或", "与", "且", "或者", "以及", "及", "as well as"})

DISJUNCTIONS = frozenset({"or", ", or", "或", "或者"})

NEUTRAL_WORDS = frozenset(
    {"only", "the", "answer", "is", "are", "about", "approximately", "approx", "value", "thus", "so", "therefore"}
    | {"答案", "是", "为", "约", "约为", "等于", "equals"}
)

_CONDITIONS = ("for ", "where", "with ", "when", "such that", "if ", "given", "provided", "其中", "for all", "as ")


def is_condition(text: str) -> bool:
    """Whether the text opens a condition on what came before (`for all integers n`)."""
    lower = text.strip().lower() + " "
    return lower.startswith(_CONDITIONS)
