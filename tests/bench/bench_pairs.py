"""How many rephrased questions get the answer of the right pair, and how many that of a wrong one, on stackfaq and on
questions of small businesses that differ from a pair in a word or two (contrasts.csv, written for this).

Run: python -m tests.bench.bench_pairs
"""

import csv
import json
import tempfile
from collections import defaultdict
from pathlib import Path

from ruma.chat.matching import match_pair
from ruma.chat.understanding import understand
from ruma.config import load_settings
from ruma.ingest.pairs import save_pair
from ruma.models.embedder import Embedder, open_embedder
from ruma.privacy.erasing import erase_pair
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.bench.question_sets import read_questions
from tests.bench.windows import DATA


def main() -> None:
    """Store every question as a pair, then ask its rephrasings, with the pair there and with it taken away."""
    embedder = open_embedder(load_settings())
    pairs, asked = read_pairs()
    elsewhere = [one.text for name in ("clapnq-dev", "squad2-dev") for one in read_questions(name)[::6]]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(load_settings({"home": folder, "key_source": "machine"}))
        home.create("bench")
        with home.open("bench") as tenant:
            ids = {group: save_pair(*pair, tenant, embedder) for group, pair in pairs.items()}
            for parity, half in ((0, "tuned half"), (1, "held-out half")):
                groups = [group for group in pairs if int(group) % 2 == parity]
                show(half, groups, asked, ids, pairs, tenant, embedder)
            wrong = sum(matched(text, tenant, embedder) is not None for text in elsewhere)
            print(f"{len(elsewhere)} questions of other fields: {wrong / len(elsewhere):.3f} matched")
        home.create("contrasts")
        with home.open("contrasts") as tenant:
            show_contrasts(tenant, embedder)


def read_pairs() -> tuple[dict[str, tuple[str, str]], dict[str, list[str]]]:
    """Return stackfaq's questions with their answers, and their rephrasings, by group."""
    pairs: dict[str, tuple[str, str]] = {}
    asked: dict[str, list[str]] = defaultdict(list)
    for line in (DATA / "stackfaq" / "corpus.jsonl").open(encoding="utf-8"):
        entry = json.loads(line)
        pairs.setdefault(entry["id"].split("-")[0], (entry["title"], entry["text"][:2000]))
    for line in (DATA / "stackfaq" / "queries.jsonl").open(encoding="utf-8"):
        entry = json.loads(line)
        asked[entry["id"].split("-")[0]].append(entry["text"])
    return pairs, asked


def show(
    half: str,
    groups: list[str],
    asked: dict[str, list[str]],
    ids: dict[str, int],
    pairs: dict[str, tuple[str, str]],
    tenant: Tenant,
    embedder: Embedder,
) -> None:
    """Print the shares of right and wrong matches of a half."""
    right = wrong = near = total = 0
    for group in groups:
        found = [matched(text, tenant, embedder) for text in asked[group]]
        total += len(found)
        right += sum(one == ids[group] for one in found)
        wrong += sum(one not in (None, ids[group]) for one in found)
        erase_pair(tenant, ids[group])
        near += sum(matched(text, tenant, embedder) is not None for text in asked[group])
        ids[group] = save_pair(*pairs[group], tenant, embedder)
    print(f"{half}, {total} rephrasings: right pair {right / total:.3f}, wrong pair {wrong / total:.3f}", end=", ")
    print(f"its own taken away: matched {near / total:.3f}")


def show_contrasts(tenant: Tenant, embedder: Embedder) -> None:
    """Print how many questions a pair answers, alone in its tenant, that ask the same or something else."""
    with (Path(__file__).parent / "contrasts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    same = other = 0
    for row in rows:
        pair = save_pair(row["pair"], "That is so.", tenant, embedder)
        same += matched(row["same"], tenant, embedder) is not None
        other += matched(row["other"], tenant, embedder) is not None
        erase_pair(tenant, pair)
    print(f"{len(rows)} pairs with a contrast: the same in other words {same} matched, another thing {other}")


def matched(text: str, tenant: Tenant, embedder: Embedder) -> int | None:
    """Return the pair that a question is matched with."""
    found = match_pair(understand(text, []), tenant, embedder)
    return found[0].id if found else None


if __name__ == "__main__":
    main()
