"""What a report says of copies and of shared runs."""

from app.contracts.memorisation import Memorisation
from workers.training.filters import TextFilter
from workers.training.memorisation import memorisation

ROWS = ["My card was stolen in Lisbon yesterday evening by a man in a red coat", "How do I change the code of my card?"]
TEXTS = [
    ROWS[0].upper(),  # the row itself
    ROWS[1].replace("How", "Hoe"),  # near it
    "they told me that my card was stolen in Lisbon yesterday evening, what now",  # eight of its words
    "my card was stolen in the train to Porto",  # five of them
    "What is the exchange rate for euros at weekends",
    "",
]


def counted(max_shared_words: int | None) -> Memorisation:
    judge = TextFilter(ROWS, 0.7, max_shared_words)
    samples = [{"text": text, "verdict": judge.judge(text, ended=True)} for text in TEXTS]
    return memorisation(ROWS, samples, max_shared_words)


def test_each_text_is_counted_once_and_the_longest_run_is_told() -> None:
    found = counted(None)
    assert (found.generated, found.exact_copies, found.near_copies, found.shared_runs, found.kept) == (6, 1, 1, 0, 3)
    assert (found.kept_with_run, found.run_words, found.longest_kept_run) == (1, 8, 8)
    assert found.dropped() == "Near a row, and dropped: 1 exact copies, 1 near copies."


def test_what_a_limit_drops_is_not_left() -> None:
    found = counted(6)
    assert (found.shared_runs, found.kept, found.kept_with_run, found.longest_kept_run) == (1, 2, 0, 5)
    assert found.dropped().endswith("1 with a run of more than 6 words.")
    assert found.left().endswith("the longest such run in any has 5.")


def test_nothing_generated() -> None:
    found = memorisation(ROWS, [], None)
    assert set(found.model_dump(exclude={"run_words", "max_shared_words"}).values()) == {0}
