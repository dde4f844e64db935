"""Which epoch's weights are kept."""

import math


class OneStandardError:
    """Keeps the latest epoch whose validation accuracy lies within one standard error of the best (Breiman et al. 1984, section 3.4).

    A validation part of some dozen rows cannot tell such epochs apart, and of those the last has the most annealed weights. Choosing the
    lowest validation loss instead stopped after two of eight epochs, while the accuracy on other rows still rose by six points.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.best = 0.0
        self.kept_epoch = 0

    def keeps(self, epoch: int, accuracy: float) -> bool:
        """Whether this epoch is to be kept; call once an epoch, in order."""
        self.best = max(self.best, accuracy)
        kept = accuracy >= self.best - math.sqrt(self.best * (1 - self.best) / self.rows)
        if kept:
            self.kept_epoch = epoch
        return kept
