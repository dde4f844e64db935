"""What a page takes for granted, by its name: shell, run before the page's first block, and settings of the service that it is about."""

_ADDRESS = "U=http://127.0.0.1:8000\n"
_STUDENT = f"""{_ADDRESS}
curl -F file=@examples/banking10.csv -F test_file=@examples/banking10_test.csv -F name=triage $U/jobs > job.json
gendistil watch $(jq -r .id job.json) > /dev/null
"""
_VERSIONS = """
curl -o triage-1.zip $U/students/triage/download
for number in 2 3 4; do
  curl --data-binary @triage-1.zip -H 'Content-Type: application/zip' "$U/students/import?name=triage" > /dev/null
done
"""
_SECOND = """
J=$(jq -r .id job.json)
curl -o triage-1.zip $U/students/triage/download
curl --data-binary @triage-1.zip -H 'Content-Type: application/zip' "$U/students/import?name=triage" > /dev/null
curl -X PUT --json '{"version": 1}' $U/students/triage/aliases/production > /dev/null
"""
_FILES = """
sed '1s/.*/utterance,intent/' examples/banking10_test.csv > mine.csv
printf '%s\\n' id,mail '1,Where is my card?' '2,Why the fee?' '3,My transfer has not arrived' > mails.csv
printf '{"text": "%s"}\\n' 'Where is my card?' 'Why the fee?' > mails.jsonl
cut -d, -f2 mails.csv > texts.txt
python > job.json <<'END'
import csv, json
rows, test = (list(csv.DictReader(open(f"examples/{name}.csv", newline=""))) for name in ("banking10", "banking10_test"))
print(json.dumps({"name": "triage", "dataset": {"rows": rows, "test": test}}))
END
"""

_TRAFFIC = """
jq --raw-input --slurp '{student: "triage:4", inputs: (split("\n") | map(select(. != "")))}' examples/banking10_test.csv > texts.json
curl --json @texts.json $U/predict > /dev/null
until curl $U/students/triage/versions/4/drift | jq --exit-status '.texts >= 100' > /dev/null; do sleep 0.5; done
"""

BEFORE = {
    "docs/access.md": _ADDRESS,
    "docs/api.md": _ADDRESS + _FILES,
    "docs/openai.md": _ADDRESS,
    "docs/operation.md": _STUDENT + _SECOND + _FILES,
    "docs/serving.md": _STUDENT + _VERSIONS + _FILES + _TRAFFIC,
}
SETTINGS = {"docs/access.md": {"GENDISTIL_KEYS": "required"}}
