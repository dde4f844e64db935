"""A new version beside the one that `latest` means: what the gate before `latest` goes by."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from app.contracts.report import Interval

ANSWERS_FILE = "answers.json"


class Promote(StrEnum):
    """When a published version becomes `latest`; the first of a name always does."""

    IF_NOT_WORSE = "if_not_worse"
    ALWAYS = "always"
    NEVER = "never"


class MeasuredAnswers(BaseModel):
    """Lies beside a student's ONNX file, so that a later version can be compared with it on rows that it has not learned."""

    learned: list[str] = Field(description="Hashes of the texts that the published student has learned from.")
    answers: dict[str, str] = Field(description="By the hash of a held-out text: what the student answered before it learned from that.")


class Comparison(BaseModel):
    """Both versions on those rows of the new holdout that neither had learned when it answered."""

    model_config = ConfigDict(frozen=True)

    champion: int | None = Field(description="The version that `latest` meant; null if there was none.")
    rows: int = Field(0, description="Of the holdout that could be compared.")
    accuracy: float | None = None
    champion_accuracy: float | None = None
    won: int = Field(0, description="Rows that only the new version answers right.")
    lost: int = Field(0, description="Rows that only the champion answers right.")
    difference: Interval | None = Field(None, description="Accuracy of the new version less the champion's, paired bootstrap.")
    obstacle: str | None = Field(None, description="Why the two could not be compared.")

    @property
    def not_worse(self) -> bool:
        """Not below the champion by more than one standard error of the paired difference (McNemar 1947), or not to be compared.

        Without a true difference, `lost - won` has the variance `lost + won`.
        """
        net = self.lost - self.won
        return net <= 0 or net * net <= self.lost + self.won

    def told(self, name: str) -> str:
        """In words, for an event and a history."""
        if self.champion is None:
            return f"there was no version of {name} to compare with"
        champion = f"{name}:{self.champion}"
        if self.obstacle is not None or self.accuracy is None or self.champion_accuracy is None:
            return f"not compared with {champion}: {self.obstacle}"
        verdict = "not worse" if self.not_worse else "worse"
        score, other = 100 * self.accuracy, 100 * self.champion_accuracy
        return f"{verdict} than {champion}: accuracy {score:.1f} % against {other:.1f} % on the same {self.rows} held-out rows"
