"""JSON that is none, that means several things, or that is larger inside than it looks."""

import json

from tests.hostile.attacks import CSV, JSON, JSONL, ROWS, Attack, attack, check, on, table
from tests.hostile.conftest import Service

DIGITS = "1" + "0" * 100_000
DEEP = "[" * 100_000
DEEP_OBJECT = '{"a":' * 100_000
ROWS_JSON = json.dumps(ROWS)
DATASET, LINES = on("POST /datasets", headers=JSON), on("POST /datasets", headers=JSONL)
TABLE = on("POST /datasets", headers=CSV)
PREDICT, JOB = on("POST /predict", headers=JSON), on("POST /jobs", headers=JSON)
BULK, BULK_TABLE = on("POST /predictions?student=triage", headers=JSONL), on("POST /predictions?student=triage", headers=CSV)
V2, HF, CHAT = on("POST /v2/models/triage/infer"), on("POST /hf/triage"), on("POST /v1/chat/completions")
TUNE, FILE = on("POST /v1/fine_tuning/jobs"), on("POST /v1/files", data={"purpose": "fine-tune"})


def rows(more: str) -> str:
    """A body of rows, of which the last is what is given."""
    return f'{{"rows": {ROWS_JSON[:-1]}, {more}]}}'


def job(spec: str) -> str:
    return f'{{"name": "odd", "dataset": {{"rows": {ROWS_JSON}}}, "spec": {spec}}}'


@table(
    DATASET("rows: a text of 10^5 digits", 400, "malformed-json", rows(f'{{"text": {DIGITS}}}')),
    DATASET("rows: a text that is 1e400", 422, "invalid-rows", rows('{"text": 1e400, "label": "a"}')),
    DATASET("rows: a label that is 1e400", 422, "invalid-rows", rows('{"text": "x", "label": 1e400}')),
    DATASET("rows: a label of 4,000 digits", 422, "invalid-rows", rows(f'{{"text": "x", "label": {DIGITS[:4000]}}}')),
    DATASET("rows: NaN as a text", 422, "invalid-rows", rows('{"text": NaN, "label": "a"}')),
    DATASET("rows: Infinity in a field that is not read", 201, None, rows('{"text": "x", "label": "top up", "n": -Infinity}')),
    DATASET("rows: nested 10^5 deep", 400, "malformed-json", DEEP),
    DATASET("rows: objects 10^5 deep", 400, "malformed-json", DEEP_OBJECT),
    DATASET("rows: a row nested 10^5 deep", 400, "malformed-json", rows(DEEP)),
    DATASET("rows: half a surrogate pair in a text", 422, "invalid-rows", rows('{"text": "\\ud800", "label": "a"}')),
    DATASET("rows: half a surrogate pair in a label", 422, "invalid-rows", rows('{"text": "x", "label": "\\udfff"}')),
    DATASET("rows: half a surrogate pair in a field's name", 422, "invalid-request", '{"\\ud800": 1}'),
    DATASET("rows: half a surrogate pair as a column", 422, "invalid-column-name", f'{{"rows": {ROWS_JSON}, "text_column": "\\ud800"}}'),
    DATASET("rows: a field twice, the last one counts", 201, None, f'{{"rows": 1, "rows": {ROWS_JSON}}}'),
    DATASET("rows: a byte order mark is passed over", 201, None, b"\xef\xbb\xbf" + ROWS_JSON.encode()),
    DATASET("rows: two byte order marks", 400, "malformed-json", b"\xef\xbb\xbf" * 2 + ROWS_JSON.encode()),
    DATASET("rows: UTF-16", 400, "not-utf8", ROWS_JSON.encode("utf-16")),
    DATASET("rows: UTF-16 without a mark", 400, "malformed-json", ROWS_JSON.encode("utf-16-le")),
    DATASET("rows: UTF-32", 400, "not-utf8", ROWS_JSON.encode("utf-32")),
    DATASET("rows: overlong UTF-8", 400, "not-utf8", rows('{"text": "\xc0\xaf", "label": "a"}').encode("latin-1")),
    DATASET("rows: UTF-8 of a surrogate", 400, "not-utf8", rows('{"text": "\xed\xa0\x80", "label": "a"}').encode("latin-1")),
    DATASET("rows: a comment", 400, "malformed-json", f"{ROWS_JSON} // all"),
    DATASET("rows: two values", 400, "malformed-json", ROWS_JSON * 2),
    DATASET("rows: a number", 422, "invalid-request", "1"),
    DATASET("rows: true as a row", 400, "broken-rows", rows("true")),
    DATASET("rows: an object as a text", 422, "invalid-rows", rows('{"text": {"a": 1}, "label": "a"}')),
    LINES("rows: lines with 10^5 digits", 400, "broken-rows", f'{{"text": {DIGITS}, "label": "a"}}\n'),
    LINES("rows: lines nested 10^5 deep", 400, "broken-rows", f"{{}}\n{DEEP}\n"),
    LINES("rows: lines with NaN as a text", 422, "invalid-rows", '{"text": NaN, "label": "a"}\n'),
    TABLE("rows: a CSV of NUL bytes", 422, "missing-columns", bytes(10_000)),
    TABLE("rows: a CSV of quotes", 400, "broken-rows", '"' * 100_001),
    TABLE("rows: a CSV of delimiters", 422, "missing-columns", "," * 1_000_000),
    TABLE("rows: a CSV of 10^5 columns of one name", 422, "duplicate-column", "text," * 100_000 + "label\n"),
    PREDICT("predict: top_k of 10^5 digits", 400, "malformed-json", f'{{"student": "triage", "inputs": "card", "top_k": {DIGITS}}}'),
    PREDICT("predict: top_k beyond 64 bits gives all labels", 200, None, f'{{"student": "triage", "inputs": "card", "top_k": {2**64}}}'),
    PREDICT("predict: top_k is 1e400", 422, "invalid-request", '{"student": "triage", "inputs": "card", "top_k": 1e400}'),
    PREDICT("predict: min_score is NaN", 422, "invalid-request", '{"student": "triage", "inputs": "card", "min_score": NaN}'),
    PREDICT("predict: min_score is 1e400", 422, "invalid-request", '{"student": "triage", "inputs": "card", "min_score": 1e400}'),
    PREDICT(
        "predict: min_precision is -Infinity", 422, "invalid-request", '{"student": "triage", "inputs": "card", "min_precision": -Infinity}'
    ),
    PREDICT("predict: nested 10^5 deep", 400, "malformed-json", DEEP),
    PREDICT("predict: a text nested 10^5 deep", 400, "malformed-json", f'{{"student": "triage", "inputs": {DEEP}'),
    PREDICT("predict: half a surrogate pair", 422, "invalid-request", '{"student": "triage", "inputs": "\\ud800"}'),
    PREDICT("predict: half a surrogate pair as a student", 422, "invalid-request", '{"student": "\\ud800", "inputs": "card"}'),
    PREDICT("predict: NUL in a text is a text", 200, None, '{"student": "triage", "inputs": "\\u0000 card"}'),
    PREDICT("predict: a student twice, the last one counts", 200, None, '{"student": "no", "student": "triage", "inputs": "card"}'),
    PREDICT("predict: UTF-16", 400, "not-utf8", '{"student": "triage", "inputs": "card"}'.encode("utf-16")),
    PREDICT("predict: no body", 400, "malformed-json", b""),
    JOB("job: a share that is 1e400", 422, "invalid-spec", job('{"distil": {"alpha": 1e400}}')),
    JOB("job: epochs of 4,000 digits", 422, "invalid-spec", job(f'{{"teacher": {{"epochs": {DIGITS[:4000]}}}}}')),
    JOB("job: steps beyond 64 bits", 422, "invalid-spec", job(f'{{"distil": {{"max_steps": {2**70}}}}}')),
    JOB("job: a seed beyond 64 bits", 422, "invalid-spec", job(f'{{"teacher": {{"seed": {2**64}}}}}')),
    JOB("job: a batch that is NaN", 422, "invalid-spec", job('{"label": {"batch_size": NaN}}')),
    JOB("job: a spec nested 10^5 deep", 400, "malformed-json", job(DEEP)),
    JOB("job: a spec nested 900 deep", 422, "invalid-spec", job('{"label":' * 900 + "{}" + "}" * 900)),
    attack(
        "job: a field of a form nested 10^5 deep",
        "POST /jobs",
        400,
        "malformed-json",
        data={"name": "odd", "spec": DEEP},
        files={"file": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))},
    ),
    JOB(
        "job: a curve of a million figures",
        422,
        "invalid-spec",
        json={"name": "odd", "dataset": "ds_1", "spec": {"label": {"curve": [1] * 1_000_000}}},
    ),
    attack("distil again: ids beyond 64 bits", "POST /jobs/{job}/distil-again", 409, "synthetic-not-ready", json={"rejected": [2**70]}),
    attack(
        "distil again: 200,000 ids", "POST /jobs/{job}/distil-again", 422, "invalid-request", json={"rejected": list(range(1, 200_001))}
    ),
    attack("webhook: nested 10^5 deep", "POST /webhooks", 400, "unreadable-body", content=DEEP, headers=JSON),
    attack("webhook: 10^5 digits", "POST /webhooks", 400, "unreadable-body", content=f'{{"url": {DIGITS}}}', headers=JSON),
    attack("alias: a version beyond 64 bits", "PUT /students/triage/aliases/old", 422, "invalid-request", json={"version": 2**64}),
    attack(
        "alias: a version that is NaN", "PUT /students/triage/aliases/old", 422, "invalid-request", content='{"version": NaN}', headers=JSON
    ),
    attack(
        "shadow: a share that is 1e400",
        "PUT /students/triage/shadow",
        422,
        "invalid-request",
        content='{"version": 1, "fraction": 1e400}',
        headers=JSON,
    ),
    BULK("bulk: lines with NaN", 400, "broken-rows", '{"text": "card", "n": NaN}\n'),
    BULK("bulk: lines with 10^5 digits", 400, "broken-rows", f'{{"text": "card", "n": {DIGITS}}}\n'),
    BULK("bulk: lines nested 10^5 deep", 400, "broken-rows", f"{DEEP}\n"),
    attack(
        "bulk: top_k beyond 64 bits",
        f"POST /predictions?student=triage&top_k={2**70}",
        422,
        "invalid-request",
        content="text\ncard\n",
        headers=CSV,
    ),
    attack(
        "bulk: min_score is nan",
        "POST /predictions?student=triage&min_score=nan",
        422,
        "invalid-request",
        content="text\ncard\n",
        headers=CSV,
    ),
    BULK_TABLE("bulk: UTF-16", 400, "not-utf8", "text\ncard\n".encode("utf-16")),
    BULK("bulk: a column of half a surrogate pair", 422, "invalid-rows", '{"text": "card", "\\ud800": 1}\n'),
    BULK("bulk: 2,000 columns", 422, "invalid-rows", json.dumps({"text": "card", **{f"c{n}": 1 for n in range(2000)}})),
    BULK_TABLE("bulk: a row of two million characters", 400, "broken-rows", 'text\n"' + "x\n" * 1_000_000),
    V2("v2: a shape beyond 64 bits", 400, json={"inputs": [{"name": "text", "shape": [2**70], "datatype": "BYTES", "data": ["card"]}]}),
    V2("v2: a shape that is 1e400", 400, None, '{"inputs": [{"name": "text", "shape": [1e400], "datatype": "BYTES", "data": ["card"]}]}'),
    V2("v2: nested 10^5 deep", 400, None, DEEP),
    V2("v2: texts nested in texts", 400, json={"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [[["card"]]]}]}),
    V2("v2: JSON longer than the body", 400, None, b"{}", headers={"Inference-Header-Content-Length": "9" * 30}),
    V2("v2: a negative length", 400, None, b"{}", headers={"Inference-Header-Content-Length": "-1"}),
    HF("hf: nested 10^5 deep", 400, None, DEEP),
    HF("hf: top_k of 10^5 digits", 400, None, f'{{"inputs": "card", "parameters": {{"top_k": {DIGITS}}}}}'),
    CHAT("chat: messages nested 10^5 deep", 400, "malformed_json", f'{{"model": "triage", "messages": {DEEP}'),
    CHAT(
        "chat: top_logprobs beyond 64 bits",
        400,
        "invalid_value",
        json={"model": "triage", "messages": [{"role": "user", "content": "card"}], "logprobs": True, "top_logprobs": 2**70},
    ),
    CHAT("chat: half a surrogate pair", 400, "invalid_value", '{"model": "triage", "messages": [{"role": "user", "content": "\\ud800"}]}'),
    TUNE("tune: a seed beyond 64 bits", 400, "invalid_value", json={"model": "fast", "training_file": "file-1", "seed": 2**70}),
    TUNE(
        "tune: a rate that is 1e400",
        400,
        "invalid_value",
        '{"model": "fast", "training_file": "file-1", "hyperparameters": {"learning_rate_multiplier": 1e400}}',
    ),
    FILE("file: a line of 10^5 digits", 400, "invalid_file", files={"file": f'{{"text": {DIGITS}}}\n'}),
    FILE("file: a line nested 10^5 deep", 400, "invalid_file", files={"file": f'{{"messages": {DEEP}\n'}),
)
def test_numbers_and_nesting(service: Service, attack: Attack) -> None:
    check(service.api, attack, service.known)
