"""Words that are one word, or nearly one: British and American spelling, abbreviations, near synonyms, inflections.

Spellings and abbreviations are the same answer. Near synonyms, other forms of a word and slips of the pen are in doubt.
"""

# ruff: noqa: SIM905  (words read better as words)
from __future__ import annotations

import re
from functools import lru_cache

_SPELT = dict(
    pair.split("=")
    for pair in """grey=gray tyre=tire aluminium=aluminum jewellery=jewelry programme=program catalogue=catalog
    dialogue=dialog analogue=analog cheque=check plough=plow sulphur=sulfur mould=mold moustache=mustache
    pyjamas=pajamas pyjama=pajama defence=defense licence=license offence=offense pretence=pretense doughnut=donut
    yoghurt=yogurt whisky=whiskey omelette=omelet storey=story kerb=curb aeroplane=airplane maths=math okay=ok
    mediaeval=medieval anaemia=anemia oestrogen=estrogen foetus=fetus haemoglobin=hemoglobin paediatric=pediatric
    manoeuvre=maneuver cosy=cozy sceptical=skeptical artefact=artifact judgement=judgment ageing=aging
    &=and mt=mount jr=junior sr=senior ii=2 iii=3 iv=4 vi=6 vii=7 viii=8 ix=9
    tv=television telly=television fridge=refrigerator
    mon=monday tue=tuesday tues=tuesday wed=wednesday thu=thursday thur=thursday thurs=thursday fri=friday
    jan=january feb=february apr=april aug=august sept=september sep=september oct=october nov=november dec=december
    """.split()
)
_OUR = re.compile(
    r"((?:dis|un|mis)?(?:col|fav|hon|lab|neighb|behavi|flav|hum|rum|harb|vap|arm|glam|sav|splend|vig|od|tum|cand|clam|endeav"
    r"|parl|ranc|rig|val|ard|ferv))our"
)
_DOUBLE_L = re.compile(
    r"((?:trave|cance|labe|mode|signa|leve|fue|marve|jewe|counse|quarre|dia|tota)l)l(?=ed$|ing$|er$|ers$)"
)
_RE = re.compile(r"(?<=[a-z]{2}[tb])re(s?)$")


def spelt(word: str) -> str:
    """A word in its American spelling and unabbreviated: `colour` is `color`, `tv` `television`."""
    if word in _SPELT:
        return _SPELT[word]
    if len(word) < 5 or not word.isascii():
        return word
    if "our" in word:
        word = _OUR.sub(r"\1or", word)
    if "is" in word:
        word = re.sub(r"(?<=[a-z]{3})is(e|ed|es|er|ers|ing|ation|ations)$", r"iz\1", word)
    if "ys" in word:
        word = re.sub(r"(?<=[a-z]{3})ys(e|ed|es|er|ing)$", r"yz\1", word)
    if "re" in word:
        word = _RE.sub(r"er\1", word)
    return _DOUBLE_L.sub(r"\1", word) if "ll" in word else word


_PHRASES = {
    tuple(short.split()): tuple(long.split())
    for short, long in (
        ("usa", "united states"), ("us", "united states"), ("united states of america", "united states"),
        ("uk", "united kingdom"), ("nyc", "new york city"), ("uae", "united arab emirates"), ("eu", "european union"),
        ("un", "united nations"), ("ussr", "soviet union"), ("prc", "china"), ("washington dc", "washington d c"),
        ("wwii", "world war 2"), ("ww2", "world war 2"), ("wwi", "world war i"),
    )
}  # fmt: skip


def unabbreviated(words: tuple[str, ...]) -> tuple[str, ...]:
    """A whole answer that is an abbreviation, in full: `usa` as `united states`."""
    return _PHRASES.get(words, words)


_SMALL = frozenset("of the and for in on a an to de la".split())


def is_initials(short: str, long: tuple[str, ...]) -> bool:
    """`WHO` of `World Health Organization`: three capitals or more, one for each word, small words aside."""
    letters = short.replace(".", "").strip()
    if not (3 <= len(letters) <= 8 and letters.isalpha() and letters.isupper()):
        return False
    every = "".join(word[0] for word in long)
    return len(long) > 2 and letters.lower() in (every, "".join(word[0] for word in long if word not in _SMALL))


_NEAR_GROUPS = """
    car automobile vehicle auto, couch sofa settee, bike bicycle cycle, motorbike motorcycle, kid child
    toddler, man male guy gentleman, woman lady female, boy male kid child, girl female kid child, big large
    huge great, small little tiny, happy glad joyful cheerful pleased, sad unhappy, picture image photo
    photograph, cup mug glass, bag purse handbag, road street avenue, shop store market, film movie, autumn
    fall, lift elevator, flat apartment, plane airplane aircraft jet, ship boat vessel, rock stone, doctor
    physician, teacher instructor professor, dad father, mom mother mum, begin start, end finish stop, fast
    quick rapid, smart intelligent clever, house home building, forest woods trees, ocean sea water, hat cap,
    rug carpet mat, garbage trash rubbish, taxi cab, phone telephone cellphone smartphone mobile, laptop
    computer notebook pc, soda coke pop, gas petrol gasoline, truck lorry, sidewalk pavement, candy sweets,
    cookie biscuit, pants trousers jeans, soccer football, puppy dog, kitten cat, lamp light, police policeman
    cop officer, sneakers shoes, tshirt shirt t-shirt, beige tan cream, violet purple, maroon burgundy red
    crimson, navy blue, orange amber, gray silver, turquoise teal cyan, gold yellow golden, brown tan, america
    usa, england uk britain, holland netherlands, wood wooden, metal metallic, reduce decrease lower, increase
    raise grow rise, buy purchase, job work occupation, talk speak, look see watch, ill sick, rich wealthy,
    street road, hill mountain, pond lake, river stream, meal dinner lunch food, plate dish, bowl dish, cake
    dessert, chef cook, singer musician, infant baby, author writer, film cinema, sunny clear, rainy raining
    rain, snowy snow, cloudy overcast, tv screen monitor, mouse rat, rooster chicken hen, cow cattle bull, pig
    hog, ox bull, seaside beach shore, photo picture, eyeglasses glasses spectacles, sunglasses glasses
    shades, jacket coat, sweater jumper pullover, refrigerator freezer, yes yeah, circle round circular,
    square rectangular, triangle triangular, sphere ball, cube box block, container box
"""
_NEAR: dict[str, set[int]] = {}
for _index, _group in enumerate(_NEAR_GROUPS.split(",")):
    for _word in _group.split():
        _NEAR.setdefault(_word, set()).add(_index)

_ENDINGS = (
    "ations",
    "ation",
    "ingly",
    "ness",
    "ment",
    "ings",
    "ing",
    "edly",
    "ied",
    "ies",
    "ers",
    "ed",
    "er",
    "or",
    "es",
    "ly",
    "al",
    "ic",
    "en",
    "y",
    "s",
    "e",
)


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """What is left of a word without its usual endings; never below three letters."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def alike(a: str, b: str) -> bool:
    """True for two words that may mean the same: a form of one word, near synonyms, or a slip of one or two letters."""
    if a == b or not _NEAR.get(a, _NONE).isdisjoint(_NEAR.get(b, _NONE)):
        return True
    if not (a[0].isalpha() and b[0].isalpha()) or not (a.isascii() and b.isascii()):
        return False
    if min(len(a), len(b)) < 3:
        return False
    if stem(a) == stem(b):
        return True
    short, long = sorted((a, b), key=len)
    if len(short) >= 4 and long.startswith(short):  # `photo` and `photograph`
        return True
    if len(short) < 4 or len(long) - len(short) > 2:
        return False
    # Edits between two short words, two letters in the other order counting as one.
    before, row = list(range(len(long) + 1)), list(range(len(long) + 1))
    previous: list[int] = []
    for i, x in enumerate(short, 1):
        previous, before, row = before, row, [i]
        for j, y in enumerate(long, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == long[j - 2] and short[i - 2] == y:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1] <= (1 if len(long) < 8 else 2) and (len(short) > 4 or sorted(a) == sorted(b))


_NONE: frozenset[int] = frozenset()


_ELEMENTS = frozenset(
    """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y
    Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re
    Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu
""".split()
)
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d{0,3}|[()])+(?:\^?\d?[+-])?")


def is_chemical(text: str) -> bool:
    """True for a formula of elements: `H2O`, `NaCl`, `Co`."""
    return (
        len(text) <= 30
        and _FORMULA.fullmatch(text) is not None
        and all(symbol in _ELEMENTS for symbol in re.findall("[A-Z][a-z]?", text))
    )
