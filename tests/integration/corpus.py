"""corpus.py: text to search in, the same at every run."""

import random

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"


def make_vocabulary(size):
    """Made-up words, so that no two passages share more than chance gives them."""
    rng = random.Random("vocabulary")
    found = {}
    while len(found) < size:
        word = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 4)))
        found[word] = True
    return list(found)


VOCABULARY = make_vocabulary(20000)


def words(rng, count):
    return rng.choices(VOCABULARY, k=count)


def paragraph(rng, size):
    """About `size` bytes of sentences."""
    lines, length = [], 0
    while length < size:
        sentence = " ".join(words(rng, rng.randint(6, 12))).capitalize() + "."
        lines.append(sentence)
        length += len(sentence) + 1
    return "\n".join(lines)


def document(seed, sections, section_size=1300):
    """A Markdown document whose sections, from 800 bytes to 1,500, are a chunk each."""
    rng = random.Random(seed)
    parts = []
    for _ in range(sections):
        title = " ".join(words(rng, 4)).title()
        parts.append(f"# {title}\n\n{paragraph(rng, section_size)}\n")
    return "\n".join(parts)


def write_tree(root, files, sections, seed=1, section_size=1300):
    """Fills root with 00/00000.md, 01/00001.md and so on; returns {path within root: text}."""
    texts = {}
    for number in range(files):
        path = f"{number % 40:02}/{number:05}.md"
        text = document(f"{seed}/{number}", sections, section_size)
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        texts[path] = text
    return texts
