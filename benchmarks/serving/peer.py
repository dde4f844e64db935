"""fastText in the peers' environment, on one core: trained once, then a line in, a timed pass over the test texts, a line out.

`python -m benchmarks.serving.peer request.json`; standard library and fastText alone.
"""

import json
import sys
import time
from pathlib import Path

import fasttext

from benchmarks.peers.subwords import prepared


def main(path: Path) -> None:
    request = json.loads(path.read_text(encoding="utf-8"))
    names = sorted(set(request["labels"]))
    lines = path.with_name("fasttext.txt")
    rows = zip(request["texts"], request["labels"], strict=True)
    lines.write_text("".join(f"__label__{names.index(label)} {prepared(text)}\n" for text, label in rows), encoding="utf-8")
    model = fasttext.train_supervised(str(lines), thread=1, seed=0, verbose=0)
    ready = [prepared(text) for text in request["test"]]

    def answers(texts: list[str]) -> list[tuple[str, float]]:
        labels, scores = model.predict(texts)
        return [(names[int(label[0].removeprefix("__label__"))], float(score[0])) for label, score in zip(labels, scores, strict=True)]

    answers(ready)
    print("ready", flush=True)
    for _line in sys.stdin:
        start = time.process_time()
        answers([prepared(text) for text in request["test"]])
        middle = time.process_time()
        answers(ready)
        print(json.dumps({"whole": middle - start, "prepared": time.process_time() - middle}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
