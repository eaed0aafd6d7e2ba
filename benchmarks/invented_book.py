"""A book about a valley that does not exist: places, people, works and years that no model can have read about.

    python -m benchmarks.invented_book FILE [--seed N]

Generated from a table of invented facts: the same bytes for the same seed, some 110 KB of English. Each fact appears in
several chapters, in different words and next to other facts, as in real books; so what was learned from one piece can
be asked about another. Knows nothing of the product.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLACES, PEOPLE = 54, 108
_STARTS = "Bel Cor Dru Esk Fen Gal Hul Ith Jor Kel Lom Mar Nev Orr Pel Quin Ras Sil Tor Ulm Ves Wen Yar Zel".split()
_VOWELS = "a e i o u".split()
_MIDDLES = [*_VOWELS, *"ad en il or um av ek im os ul".split()]
_PLACE_ENDS = "dale wick mere holm ford stead combe garth haven thorpe".split()
_GIVEN_ENDS = "ric dis lan wen mar tha vin rel sa don".split()
_FAMILY_ENDS = "skin rley mber sset ndle rrow vane lsin ttle rring".split()
_PRODUCTS = (
    "blue glass", "smoked eels", "slate roofs", "pear brandy", "copper bells", "felt hats", "salted butter", "reed mats",
    "walnut oil", "black honey", "cart wheels", "linen thread", "clay pipes", "sheep cheese", "iron hinges", "rye cakes",
    "beeswax candles", "willow baskets",
)  # fmt: skip
_TRADES = (
    "clockmaker", "ferryman", "botanist", "mason", "bookbinder", "beekeeper", "surveyor", "glassblower", "bell founder",
    "doctor", "cartographer", "weaver", "locksmith", "miller", "star gazer", "shipwright",
)  # fmt: skip
_WORKS = (
    "lantern", "bridge", "almanac", "water clock", "herbal", "loom", "atlas", "fiddle", "kiln", "sundial", "ferry bell",
    "star chart", "mill wheel", "hymnal", "weather vane", "stone stair",
)  # fmt: skip
_BEASTS = "heron badger lynx crane hedgehog raven stag marten pike swan toad fox".split()


@dataclass
class Place:
    """A village and the facts about it."""

    name: str
    founded: int
    river: str
    product: str
    houses: int
    beast: str
    people: "list[Person]" = field(default_factory=list)


@dataclass
class Person:
    """A person who lived there, and their works."""

    name: str
    born: int
    home: Place
    trade: str
    work: str
    title: str
    made: int
    teacher: "Person | None" = None


def book(seed: int = 7) -> str:
    """Return the entire text: a preface and four chapters."""
    chance = random.Random(seed)
    places, people = _facts(chance)
    chapters = [
        ("The Villages of the Oskarin Valley", _villages(places, chance)),
        ("Lives of the Makers", _lives(people, chance)),
        ("The Annals", _annals(places, people, chance)),
        ("Letters of a Traveller", _letters(places, chance)),
    ]
    parts = [
        "The Book of the Oskarin Valley\n\nWhat follows was copied out by the schoolmaster of the valley from parish rolls, "
        "from gravestones, and from what the old people told him by the fire."
    ]
    for title, paragraphs in chapters:
        parts += [title, *paragraphs]
    return "\n\n".join(parts) + "\n"


def _facts(chance: random.Random) -> tuple[list[Place], list[Person]]:
    names = _names(chance)
    places = [
        Place(
            name=next(names["place"]),
            founded=chance.randrange(903, 1490),
            river=next(names["river"]),
            product=_PRODUCTS[number % len(_PRODUCTS)],
            houses=chance.randrange(23, 480),
            beast=chance.choice(_BEASTS),
        )
        for number in range(PLACES)
    ]
    people: list[Person] = []
    for number in range(PEOPLE):
        home, born = places[number % PLACES], chance.randrange(1500, 1790)
        work = chance.choice(_WORKS)
        person = Person(
            name=f"{next(names['given'])} {next(names['family'])}",
            born=born,
            home=home,
            trade=chance.choice(_TRADES),
            work=work,
            title=f"{next(names['work'])} {work.title()}",
            made=born + chance.randrange(21, 60),
        )
        elders = [other for other in people if 20 < person.born - other.born < 60]
        person.teacher = chance.choice(elders) if elders else None
        home.people.append(person)
        people.append(person)
    return places, people


def _names(chance: random.Random) -> dict[str, Iterator[str]]:
    """Return generators of unique names that nobody has."""
    taken: set[str] = set()

    def new(ends: Sequence[str], middles: Sequence[str] = _MIDDLES) -> Iterator[str]:
        while True:
            name = chance.choice(_STARTS) + chance.choice(middles) + chance.choice(ends)
            if name not in taken:
                taken.add(name)
                yield name

    return {
        "place": new(_PLACE_ENDS),
        "river": new(["ska", "nne", "rth", "lle"], _VOWELS),
        "given": new(_GIVEN_ENDS),
        "family": new(_FAMILY_ENDS, _VOWELS),
        "work": new(["vian", "lese", "rine", "sian"]),
    }


def _villages(places: Sequence[Place], chance: random.Random) -> Iterator[str]:
    for place in places:
        first, *others = place.people
        sentences = [
            _one(
                chance,
                f"The village of {place.name} was founded in the year {place.founded} on the banks of the {place.river}.",
                f"On the river {place.river}, in the year {place.founded}, the first settlers built {place.name}.",
                f"{place.name} lies where the {place.river} leaves the hills; it was founded in {place.founded}.",
            ),
            _one(
                chance,
                f"It has {place.houses} houses, and above the gate of each there is a carved {place.beast}.",
                f"The rolls count {place.houses} houses, and the {place.beast} is the beast on its seal.",
            ),
            _one(
                chance,
                f"All the valley knows {place.name} for its {place.product}.",
                f"What {place.name} sells at the fairs is {place.product}, and nothing else.",
                f"Whoever buys {place.product} in the valley asks whether they come from {place.name}.",
            ),
            _one(
                chance,
                f"Its best-known child is the {first.trade} {first.name}, who made the {first.title}.",
                f"There the {first.trade} {first.name} was born, the maker of the {first.title}.",
            ),
        ]
        sentences += [f"The {other.trade} {other.name} came from {place.name} as well." for other in others]
        yield " ".join(sentences)


def _lives(people: Sequence[Person], chance: random.Random) -> Iterator[str]:
    for person in people:
        sentences = [
            _one(
                chance,
                f"{person.name} was born at {person.home.name} in {person.born} and became a {person.trade}.",
                f"In {person.born} {person.name} was born at {person.home.name}, on the river {person.home.river}.",
                f"Of {person.name}, {person.trade} of {person.home.name}, we know the year of birth, {person.born}.",
            )
        ]
        if person.teacher:
            sentences.append(
                _one(
                    chance,
                    f"The trade was taught by {person.teacher.name}, the {person.teacher.trade} of "
                    f"{person.teacher.home.name}.",
                    f"For seven winters the teacher was {person.teacher.name}, who lived at {person.teacher.home.name}.",
                )
            )
        sentences += [
            _one(
                chance,
                f"The work that is remembered is the {person.title}, finished in {person.made}.",
                f"In {person.made} came the {person.title}, for which the name is remembered.",
                f"It took until {person.made} before the {person.title} was finished, and people came from far to see it.",
            ),
            _one(
                chance,
                f"At {person.home.name}, famous for {person.home.product}, the neighbours thought little of it at first.",
                f"The people of {person.home.name} paid for the {person.work} with {person.home.product}.",
                f"A {person.home.beast} is cut into the {person.work}, as it is into the gates of {person.home.name}.",
            ),
        ]
        yield " ".join(sentences)


def _annals(places: Sequence[Place], people: Sequence[Person], chance: random.Random) -> Iterator[str]:
    told = [
        (place.founded, f"settlers came up the {place.river} and founded {place.name}, which sells {place.product}.")
        for place in places
    ]
    for person in people:
        told.append((person.born, f"at {person.home.name} a child was born and called {person.name}."))
        told.append(
            (
                person.made,
                _one(
                    chance,
                    f"{person.name} of {person.home.name} finished the {person.title}.",
                    f"the {person.trade} {person.name} showed the {person.title} at {person.home.name}.",
                ),
            )
        )
    sentences = [f"In the year {year} {what}" for year, what in sorted(told)]
    for start in range(0, len(sentences), 5):
        yield " ".join(sentences[start : start + 5])


def _letters(places: Sequence[Place], chance: random.Random) -> Iterator[str]:
    for place in chance.sample(list(places), len(places)):
        sentences = [
            _one(
                chance,
                f"Dear sister, today I crossed the {place.river} and slept at {place.name}.",
                f"Dear sister, I write to you from {place.name}, with the {place.river} under my window.",
            ),
            _one(
                chance,
                f"They say that it has stood since {place.founded}, and I counted {place.houses} houses.",
                f"I counted {place.houses} houses; the oldest is of {place.founded}, when the village was founded.",
            ),
            f"You would laugh: over every door there is a {place.beast}, and at every table they offer you {place.product}.",
        ]
        for person in place.people:
            sentences.append(
                _one(
                    chance,
                    f"An old man showed me the {person.title}, which {person.name} made in {person.made}.",
                    f"I saw the {person.title}; the {person.trade} {person.name}, born here in {person.born}, was its maker.",
                )
            )
            if person.teacher:
                sentences.append(f"{person.name} had learned the trade from {person.teacher.name}, they told me.")
        yield " ".join(sentences)


def _one(chance: random.Random, *ways: str) -> str:
    return chance.choice(ways)


def main() -> int:
    """Write the book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.file.write_text(book(options.seed), encoding="utf-8")
    print(f"{options.file}: {options.file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
