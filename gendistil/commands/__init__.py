"""The commands of `gendistil`, by topic; `cli.py` puts them together."""
