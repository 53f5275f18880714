"""Write titles and descriptions of imaginary books: nine topics, each with its words, in sentences that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Topic:
    """The words of a topic: title words, who the book is about, where, with what, and what goes wrong."""

    heads: tuple[str, ...]
    tails: tuple[str, ...]
    people: tuple[str, ...]
    places: tuple[str, ...]
    things: tuple[str, ...]
    troubles: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split("|"))


TOPICS: dict[str, Topic] = {
    "sea": Topic(
        _words("Harbour|Tide|Lighthouse|Anchor|Schooner|Sailor|Lagoon|Reef|Ferry|Compass|Gale|Shipwright"),
        _words("Cape Sorrow|the Outer Isles|the Long Strait|Saltmarsh Bay|the Trade Winds|the Grey Channel"),
        _words(
            """
            a ferry pilot|an oyster diver|a ship's carpenter|a harbour master|a stowaway|the last whaler's daughter
            """
        ),
        _words("a fishing port|a storm-bound island|the hold of a schooner|a drowned village|a lighthouse on the reef"),
        _words(
            """
            a torn chart|a message in a bottle|the ship's log|a salvaged anchor|a cargo of salt|a sextant|a coil of
            rope
            """
        ),
        _words(
            """
            the tide brings in a boat without a crew|a gale cuts the island off for forty days|the fleet sails and
            one vessel stays behind|the captain changes course in the night|the harbour silts up and the nets come
            back empty
            """
        ),
    ),
    "crime": Topic(
        _words("Alibi|Witness|Inspector|Verdict|Ransom|Poisoner|Suspect|Confession|Motive|Evidence|Forger|Informant"),
        _words("Room Eleven|the Assizes|Canal Street|the Third Floor|Hangman's Row|the Night Train"),
        _words(
            """
            a retired detective|a junior pathologist|a court stenographer|a pickpocket|a police inspector|a defence
            lawyer
            """
        ),
        _words(
            """
            a locked study|the county morgue|a grand hotel|a courtroom in July|a gambling den|an interrogation room
            """
        ),
        _words(
            """
            a forged signature|an unsigned confession|a set of fingerprints|a stolen necklace|a vial of arsenic|a
            pistol
            """
        ),
        _words(
            """
            the only witness is found dead|a second body turns up with the same wound|the murderer writes to the
            newspaper|the alibi of the chief suspect falls apart|the detective finds his own name in the victim's
            diary
            """
        ),
    ),
    "kitchen": Topic(
        _words("Recipe|Baker|Saffron|Pantry|Feast|Broth|Apron|Cardamom|Spoon|Supper|Oven|Marzipan"),
        _words("Plum Lane|the Corner Bistro|Nonna's Table|the Spice Market|the Second Course|Leek Street"),
        _words(
            """
            a pastry cook|a widowed restaurateur|a village baker|a travelling spice merchant|a food critic|a
            dishwasher
            """
        ),
        _words("a failing bistro|a convent kitchen|a market of spices|a bakery by the station|a crowded supper club"),
        _words(
            """
            a sourdough starter|a handwritten recipe|a copper pan|a jar of preserved lemons|a wedding cake|a pot of
            broth
            """
        ),
        _words(
            """
            the oven goes cold on the eve of the feast|the secret ingredient runs out|the critic orders the one dish
            that is not on the menu|a rival opens a restaurant across the street|the dough refuses to rise for a
            week
            """
        ),
    ),
    "space": Topic(
        _words("Orbit|Astronaut|Comet|Airlock|Satellite|Colony|Signal|Asteroid|Gravity|Telescope|Starship|Eclipse"),
        _words("Titan|the Far Relay|Station Nine|the Kuiper Mines|Europa Below|the Second Sun"),
        _words(
            """
            a stranded astronaut|an orbital mechanic|a radio astronomer|the colony's doctor|a cadet pilot|a
            xenobiologist
            """
        ),
        _words(
            """
            a station above Saturn|a mining colony on an asteroid|a generation ship|a crater observatory|a lunar
            greenhouse
            """
        ),
        _words(
            """
            a faint radio signal|a cracked helmet|the last oxygen tank|an alien seed|a navigation computer|a dead
            satellite
            """
        ),
        _words(
            """
            the relay to Earth falls silent|the hull loses pressure between two planets|the signal answers before it
            is sent|the crew wakes a century too early|the comet turns out to be steering
            """
        ),
    ),
    "garden": Topic(
        _words("Orchard|Gardener|Rose|Beekeeper|Greenhouse|Seedling|Meadow|Hedge|Pear Tree|Nursery|Bramble|Herbarium"),
        _words("Foxglove House|the Walled Garden|Thistle Hill|the Kitchen Beds|Lower Meadow|the Glasshouse"),
        _words("a head gardener|a shy botanist|a beekeeper|an orchard owner|a seed collector|a retired florist"),
        _words(
            """
            a walled garden|an abandoned orchard|a village allotment|a glasshouse full of orchids|a valley of wild
            bees
            """
        ),
        _words(
            """
            a packet of old seeds|a grafted pear tree|a pressed flower|a hive without a queen|a pair of pruning
            shears
            """
        ),
        _words(
            """
            a late frost takes the blossom|the bees leave in the middle of summer|the rarest rose is dug up
            overnight|the council wants to pave the allotments|something in the soil turns every petal pale
            """
        ),
    ),
    "mountain": Topic(
        _words("Summit|Avalanche|Glacier|Climber|Ridge|Crevasse|Base Camp|Sherpa|Couloir|Pass|Traverse|Ice Axe"),
        _words("the North Face|Hut Seven|the Upper Valley|Cold Peak|the Death Zone|the Widow's Ridge"),
        _words(
            """
            a mountain guide|an alpine rescuer|a mapmaker on skis|a hut keeper|a disgraced climber|a
            glaciologist
            """
        ),
        _words(
            """
            an unclimbed peak|a snowed-in hut|an inn on the high pass|a village below the glacier|a base camp at
            five thousand metres
            """
        ),
        _words(
            """
            a frayed rope|a frozen rucksack|a summit register|a set of crampons|a broken ice axe|an avalanche beacon
            """
        ),
        _words(
            """
            the weather closes an hour below the summit|the glacier gives back a climber lost for sixty years|the
            rope is found cut and not torn|an avalanche buries the only path down|the guide refuses to go any higher
            """
        ),
    ),
    "music": Topic(
        _words(
            """
            Sonata|Cellist|Jazz Club|Overture|Piano Tuner|Trumpet|Rehearsal|Lullaby|Quartet|Encore|Metronome|Ballad
            """
        ),
        _words("B Minor|the Blue Room|the Second Movement|the Conservatory|Basement Records|the Last Encore"),
        _words(
            """
            a piano tuner|a jazz trumpeter|a cellist with stage fright|an ageing conductor|a choir mistress|a busker
            """
        ),
        _words(
            """
            a provincial conservatory|a smoky jazz club|an opera house in winter|a recording studio|a rehearsal room
            """
        ),
        _words(
            """
            an unfinished sonata|a cracked violin|a box of tapes|a borrowed trumpet|a misprinted score|a metronome
            """
        ),
        _words(
            """
            the soloist loses the ear for pitch|the quartet breaks up before the final movement|a melody appears in
            two scores at once|the orchestra goes on strike at the dress rehearsal|the piano plays one note that is
            not there
            """
        ),
    ),
    "machines": Topic(
        _words("Automaton|Algorithm|Robot|Circuit|Android|Server|Prototype|Turing Test|Network|Upgrade|Drone|Backup"),
        _words("Factory Zero|the Silent Server|Version Two|the Data Vault|Assembly Line Six|the Uncanny Valley"),
        _words(
            """
            a robot ethicist|a junior programmer|a household android|a hacker on parole|a chip designer|a data clerk
            """
        ),
        _words(
            """
            a factory without workers|a server farm in the desert|a start-up's basement|a smart city|a robotics lab
            """
        ),
        _words("a prototype android|a corrupted backup|a line of code|a neural implant|an old circuit board|a drone"),
        _words(
            """
            the software starts to keep a diary|a machine asks not to be switched off|the network predicts a crime
            that its makers will commit|every device in the city updates at once|the android fails the test on
            purpose
            """
        ),
    ),
    "ghosts": Topic(
        _words("Haunting|Witch|Séance|Changeling|Graveyard|Spirit|Curse|Poltergeist|Phantom|Raven|Amulet|Crypt"),
        _words("Hollow Manor|the Old Chapel|Midwinter Wood|the Thirteenth Room|Barrow Hill|the Veil"),
        _words(
            """
            a reluctant medium|a gravedigger|a village witch|a folklorist|an exorcist without faith|the vicar's
            sister
            """
        ),
        _words(
            """
            a haunted manor|a graveyard on the moor|a wood where no bird sings|a sealed crypt|a chapel without a
            roof
            """
        ),
        _words(
            """
            a cursed mirror|a witch's amulet|a doll with human hair|a spirit board|a bell that rings alone|a bone
            flute
            """
        ),
        _words(
            """
            the dead begin to answer the door|a child speaks in a voice long buried|the curse skips a generation and
            comes back|the phantom at the window has a familiar face|the spirits demand the name of a murdered bride
            """
        ),
    ),
}

NAMES = _words(
    """
    Ada|Bruno|Clara|Dimitri|Elin|Farid|Greta|Hugo|Ines|Jonas|Kaya|Leo|Mina|Nils|Olga|Pablo|Rosa|Samir|Tilda|Viktor
    """
)
_TITLES = _words(
    """
    The {head}|The {head} of {tail}|The {adjective} {head}|{a} {head} for {name}|{name} and the {head}|The {other} and
    the {head}|{head} at {tail}|Letters from {tail}|The {adjective} {head} of {tail}|What the {head} Knew|Beyond
    {tail}
    """
)
_ADJECTIVES = _words("Last|Quiet|Borrowed|Second|Lost|Patient|Forgotten|Honest|Other|Unlikely|Seventh|Stubborn")
_OPENINGS = _words(
    """
    {name}, {person}, comes to {place} with nothing but {thing}.|In {place}, {person} finds {thing}.|Since childhood
    {name}, {person}, has dreamed of {place}.|When {name} inherits {thing}, the trail leads to {place}.|Nobody in
    {place} trusts {person}, least of all {name}.|For twenty years {person} has kept {thing} hidden in {place}.
    """
)
_TURNS = _words(
    """
    Then {trouble}.|But {trouble}, and {name} has to choose.|One morning {trouble}.|Everything changes when
    {trouble}.|Before the week is out, {trouble}.
    """
)
_MIDDLES = _words(
    """
    With the help of {person}, {name} sets out to learn where {thing} came from.|What follows leads from {place} to
    {thing}, and back to an old promise.|Only {person} seems to know why.|The answer lies with {thing} and with
    {person}.|{thing} goes missing, and then {person} does too.
    """
)
_CLOSINGS = _words(
    """
    A novel about what we owe each other.|Funny, tender and impossible to put down.|The first book of a trilogy.|A
    debut of rare warmth.|By the winner of several prizes.|Told in letters, with a wink.|A story about patience,
    luck and second chances.|For readers who like their endings open.|Short, sharp and beautifully told.
    """
)


def write_title(topic: str, random: np.random.Generator) -> str:
    """Return a title with at least one word or place of the topic."""
    words = TOPICS[topic]
    pick = _picker(random)
    head = pick(words.heads)
    title = pick(_TITLES).format(
        head=head,
        a="An" if head[0] in "AEIOU" else "A",
        other=pick(tuple(word for word in words.heads if word != head)),
        tail=pick(words.tails),
        adjective=pick(_ADJECTIVES),
        name=pick(NAMES),
    )
    return title[0].upper() + title[1:]


def write_description(topic: str, random: np.random.Generator, *, stray: float = 0.2) -> str:
    """Return two to four sentences on the topic; with probability ``stray`` one of them has words of another topic."""
    pick = _picker(random)
    name = pick(NAMES)
    plan = [_OPENINGS, _TURNS]
    if random.random() < 0.6:
        plan.append(_MIDDLES)
    astray = int(random.integers(len(plan))) if random.random() < stray else None
    sentences = []
    for k, patterns in enumerate(plan):
        words = TOPICS[pick(tuple(TOPICS)) if k == astray else topic]
        sentence = pick(patterns).format(
            name=name,
            person=pick(words.people),
            place=pick(words.places),
            thing=pick(words.things),
            trouble=pick(words.troubles),
        )
        sentences.append(sentence[0].upper() + sentence[1:])
    if random.random() < 0.7:
        sentences.append(pick(_CLOSINGS))
    return " ".join(sentences)


def _picker(random: np.random.Generator) -> Callable[[tuple[str, ...]], str]:
    return lambda options: options[int(random.integers(len(options)))]
